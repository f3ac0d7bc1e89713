#include "pipeline/boot/vmm/kernel_arguments.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "pipeline/boot/vmm/host_clock.hpp"

using namespace nanobox;
using Catch::Matchers::Contains;

TEST_CASE("the seed's boot_args are kept, and what the machine needs comes after them", "[kernel]") {
  const auto line = kernel_arguments("console=ttyS0 reboot=k panic=1 pci=off init=/sbin/nanobox-init",
                                     {.emulated = true, .vcpu = 1, .tsc_khz = 2'400'000});
  REQUIRE(line);
  CHECK(*line ==
        "console=ttyS0 reboot=k panic=1 pci=off init=/sbin/nanobox-init quiet reboot=t panic=-1 tsc=reliable "
        "no_timer_check tsc_early_khz=2400000 nolapic_timer rootflags=noinit_itable,no_prefetch_block_bitmaps "
        "root=/dev/vda rw");
}

TEST_CASE("what boot_args leave out is added", "[kernel]") {
  const auto line = kernel_arguments("", {});
  REQUIRE(line);
  CHECK_THAT(*line, Contains("console=ttyS0 ") && Contains("init=/sbin/nanobox-init "));
  CHECK(line->find("tsc_early_khz") == std::string::npos);
}

TEST_CASE("the APIC timer is left out under emulation with one vCPU only, where boots are to be short", "[kernel]") {
  const auto has = [](KernelMachine machine) {
    return kernel_arguments("", machine)->find("nolapic_timer") != std::string::npos;
  };
  CHECK(has({.emulated = true, .vcpu = 1, .tsc_khz = {}}));
  CHECK_FALSE(has({.emulated = true, .vcpu = 1, .tsc_khz = {}, .idles_long = true}));
  CHECK_FALSE(has({.emulated = true, .vcpu = 2, .tsc_khz = {}}));
  CHECK_FALSE(has({.emulated = false, .vcpu = 1, .tsc_khz = {}}));
}

TEST_CASE("who asks for a loud kernel gets one", "[kernel]") {
  CHECK(kernel_arguments("loglevel=7", {})->find("quiet") == std::string::npos);
  CHECK(kernel_arguments("debug", {})->find("quiet") == std::string::npos);
}

TEST_CASE("the root is mounted as boot_args say", "[kernel]") {
  const auto line = kernel_arguments("rootflags=data=journal", {});
  CHECK_THAT(*line, Contains("rootflags=data=journal ") && !Contains("noinit_itable"));
}

TEST_CASE("boot_args that a kernel cannot read are refused", "[kernel]") {
  const auto control = kernel_arguments("console=ttyS0\ninit=/x", {});
  REQUIRE_FALSE(control);
  CHECK(control.error().code == ErrorCode::config_invalid);
  CHECK(control.error().subject == "firecracker.boot_args");
  const auto length = kernel_arguments(std::string(1500, 'x'), {});
  REQUIRE_FALSE(length);
  CHECK_THAT(length.error().mend, Contains("keep it below "));
}

TEST_CASE("the host's clock is measured, twice the same", "[kernel]") {
  const HostClock clock;
  const auto first = clock.tsc_khz();
  const auto second = clock.tsc_khz();
  REQUIRE(first);
  REQUIRE(second);
  CHECK(*first > 100'000);
  CHECK(*first < 20'000'000);
  CHECK(std::abs(static_cast<double>(*first) / static_cast<double>(*second) - 1) < 0.001);
}
