#include "pipeline/boot/vmm/qemu/qemu_arguments.hpp"

#include <rapidjson/document.h>

#include <algorithm>
#include <catch2/catch.hpp>

using namespace nanobox;

namespace {

std::vector<std::string> arguments(const VmSpec& spec, VmmKind kind = VmmKind::qemu_tcg, const QemuNames& names = {}) {
  return qemu_arguments(spec, kind, "the-uuid", "console=ttyS0 root=/dev/vda", names, {});
}

VmSpec spec_of(std::string id, std::uint32_t vcpu) {
  VmSpec spec;
  spec.sandbox_id = std::move(id);
  spec.vcpu = vcpu;
  return spec;
}

std::vector<std::string> values(const std::vector<std::string>& argv, const std::string& option) {
  std::vector<std::string> found;
  for (std::size_t i = 0; i + 1 < argv.size(); ++i)
    if (argv[i] == option) found.push_back(argv[i + 1]);
  return found;
}

}  // namespace

TEST_CASE("the machine has the switches that were measured", "[qemu-arguments]") {
  const auto argv = arguments(spec_of("sb-1", 2));
  CHECK(values(argv, "-accel") == std::vector<std::string>{"tcg,thread=multi,tb-size=32"});
  CHECK(values(argv, "-M").front() ==
        "microvm,acpi=off,rtc=on,pcie=off,usb=off,x-option-roms=off,memory-backend=ram,mem-merge=off");
  CHECK(values(argv, "-smp").front() == "2");
  CHECK(values(argv, "-sandbox").front() == "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
  CHECK(values(arguments({}, VmmKind::qemu_kvm), "-accel").front() == "kvm");
  CHECK(values(arguments({}, VmmKind::qemu_kvm), "-cpu").front() == "host");
}

TEST_CASE("every disk layer names its driver and what is below it", "[qemu-arguments]") {
  VmSpec spec;
  spec.disk_layers = {"/a.qcow2", "/b.qcow2"};
  const auto layers = values(arguments(spec), "-blockdev");
  std::vector<std::string> chain;
  REQUIRE(layers.size() == 9);
  for (const auto& layer : layers) {
    rapidjson::Document json;
    REQUIRE_FALSE(json.Parse(layer.c_str()).HasParseError());
    CHECK(json.HasMember("driver"));
    CHECK(json.HasMember("node-name"));
    CHECK(json["cache"]["no-flush"].GetBool());
    if (std::string_view(json["driver"].GetString()) == "qcow2")
      chain.push_back(std::string(json["node-name"].GetString()) + " on " + json["backing"].GetString());
  }
  CHECK(chain == std::vector<std::string>{"layer-1 on base", "layer-2 on layer-1", "overlay-0 on layer-2"});
  CHECK(values(arguments(spec), "-device").front() == "virtio-serial-device");
}

TEST_CASE("a VMM that waits for a state is the same machine, without kernel and disk", "[qemu-arguments]") {
  const VmSpec cold = spec_of("sb-a", 2);
  const EmptyVmmSpec empty{
      .id = "sb-a", .vcpu = 2, .memory_mb = cold.memory_mb, .memory_file = {}, .run_dir = {}, .uid = 0};
  const auto booting = arguments(cold);
  const auto waiting = empty_qemu_arguments(empty, VmmKind::qemu_tcg, "the-uuid", {}, {});
  for (const auto* option : {"-M", "-accel", "-cpu", "-smp", "-m", "-object", "-device", "-chardev", "-sandbox"})
    CHECK(values(waiting, option) == values(booting, option));
  CHECK(values(waiting, "-incoming") == std::vector<std::string>{"defer"});
  CHECK(values(waiting, "-kernel").empty());
}

TEST_CASE("paths may hold commas and quotes; names never do", "[qemu-arguments]") {
  QemuNames names;
  names.disk = "/data,if=none\"/disk";
  const auto argv = arguments(spec_of("a,b=c", 1), VmmKind::qemu_tcg, names);
  rapidjson::Document json;
  REQUIRE_FALSE(json.Parse(values(argv, "-blockdev")[2].c_str()).HasParseError());
  CHECK(std::string_view(json["filename"].GetString()) == names.disk.native());
  CHECK(values(argv, "-name").empty());
}
