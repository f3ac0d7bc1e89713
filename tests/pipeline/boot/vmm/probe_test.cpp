#include "pipeline/boot/vmm/probe.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "pipeline/boot/vmm/probe_guest/probe_guest.hpp"

using namespace nanobox;
using namespace std::chrono_literals;
using Catch::Matchers::Contains;

namespace {

VmmProbe probe(VmmKind kind, bool usable, std::string reason = "because", std::string mend = "do this") {
  return {.kind = kind, .usable = usable, .version = "7.2", .reason = std::move(reason), .mend = std::move(mend)};
}

/// A program that says it is QEMU, and does `script` where a guest is wanted of it.
struct StandInQemu {
  std::string path = "/tmp/nb-qemu-XXXXXX";

  explicit StandInQemu(const std::string& script) {
    const int fd = mkstemp(path.data());
    REQUIRE(fd >= 0);
    close(fd);
    std::ofstream(path) << "#!/bin/sh\n[ \"$1\" = --version ] && echo 'QEMU emulator version 0.1' && exit 0\n"
                        << script << "\n";
    std::filesystem::permissions(path, static_cast<std::filesystem::perms>(0755));
  }
  StandInQemu(const StandInQemu&) = delete;
  StandInQemu& operator=(const StandInQemu&) = delete;
  ~StandInQemu() { std::filesystem::remove(path); }
};

}  // namespace

TEST_CASE("this host runs a tiny guest in software at least", "[probe]") {
  const auto begin = std::chrono::steady_clock::now();
  const auto probes = probe_vmms({.deadline = 20s});
  CHECK(std::chrono::steady_clock::now() - begin < 40s);
  REQUIRE(probes.size() == 3);
  CHECK(probes[1].kind == VmmKind::qemu_kvm);
  CHECK(probes[2].kind == VmmKind::qemu_tcg);
  INFO(probes[2].reason);
  CHECK(probes[2].usable);
  CHECK_THAT(probes[2].version, Contains("."));
  for (const auto& each : probes) CHECK_FALSE(each.reason.empty());
  CHECK(choose_vmm("qemu-tcg", probes) == VmmKind::qemu_tcg);
  CHECK(choose_vmm("auto", probes).has_value());
}

TEST_CASE("a missing KVM device and a missing QEMU are told apart", "[probe]") {
  const auto no_device = probe_vmms({.kvm_device = "/dev/there-is-none", .deadline = 20s});
  CHECK_FALSE(no_device[1].usable);
  CHECK_THAT(no_device[1].reason, Contains("/dev/there-is-none"));
  const auto no_qemu = probe_vmms({.qemu_binary = "qemu-nowhere"});
  for (const auto& each : {no_qemu[1], no_qemu[2]}) {
    CHECK_FALSE(each.usable);
    CHECK_THAT(each.reason, Contains("qemu-nowhere"));
    CHECK_THAT(each.mend, Contains("qemu-system-x86"));
  }
}

TEST_CASE("a guest that does not get on is ended at the deadline", "[probe]") {
  const StandInQemu qemu("exec sleep 60");
  const auto probes = probe_vmms({.qemu_binary = qemu.path, .deadline = 200ms});
  CHECK_FALSE(probes[2].usable);
  CHECK(probes[2].version == "0.1");
  CHECK_THAT(probes[2].reason, Contains("had not ended after 200 ms"));
}

TEST_CASE("a KVM far slower than software is one that is emulated", "[probe]") {
  const StandInQemu qemu("case \"$*\" in *'-accel kvm'*) exec sleep 60;; esac; exit " +
                         std::to_string(probe_guest_success));
  const auto probes = probe_vmms({.qemu_binary = qemu.path, .kvm_device = "/dev/null"});
  CHECK(probes[2].usable);
  CHECK_FALSE(probes[1].usable);
  CHECK_THAT(probes[1].reason, Contains("this host emulates its virtualisation"));
  CHECK(choose_vmm("auto", probes) == VmmKind::qemu_tcg);
}

TEST_CASE("only the kind that was asked for is tried", "[probe]") {
  const auto probes = probe_vmms({.qemu_binary = "qemu-nowhere", .asked = "qemu-tcg"});
  REQUIRE(probes.size() == 1);
  CHECK(probes[0].kind == VmmKind::qemu_tcg);
  CHECK(choose_vmm("qemu-tcg", probes).error().code == ErrorCode::host_unsuitable);
  const auto unknown = probe_vmms({.qemu_binary = "qemu-nowhere", .asked = "qemu"});
  CHECK(unknown.size() == 3);
  CHECK(choose_vmm("qemu", unknown).error().code == ErrorCode::config_invalid);
}

TEST_CASE("auto takes the first kind that works", "[probe]") {
  CHECK(choose_vmm("auto", {probe(VmmKind::firecracker, false), probe(VmmKind::qemu_kvm, true),
                            probe(VmmKind::qemu_tcg, true)}) == VmmKind::qemu_kvm);
  CHECK(choose_vmm("auto", {probe(VmmKind::qemu_kvm, false), probe(VmmKind::qemu_tcg, true)}) == VmmKind::qemu_tcg);
}

TEST_CASE("a kind that was asked for and does not work is not replaced", "[probe]") {
  const auto choice = choose_vmm(
      "qemu-kvm", {probe(VmmKind::qemu_kvm, false, "no such device", "enable it"), probe(VmmKind::qemu_tcg, true)});
  REQUIRE_FALSE(choice);
  CHECK(choice.error().code == ErrorCode::host_unsuitable);
  CHECK_THAT(choice.error().reason, Contains("no such device"));
  CHECK(choice.error().mend == "enable it");
  CHECK(choose_vmm("qemu", {}).error().code == ErrorCode::config_invalid);
}
