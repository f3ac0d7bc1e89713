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
  const auto layers = values(arguments({}), "-blockdev");
  REQUIRE(layers.size() == 4);
  for (const auto& layer : layers) {
    rapidjson::Document json;
    REQUIRE_FALSE(json.Parse(layer.c_str()).HasParseError());
    CHECK(json.HasMember("driver"));
    CHECK(json.HasMember("node-name"));
    CHECK(json["cache"]["no-flush"].GetBool());
    if (std::string_view(json["driver"].GetString()) == "qcow2")
      CHECK(std::string_view(json["backing"].GetString()) == "base");
  }
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
