#include "pipeline/boot/vmm/vm_death_cause.hpp"

#include <catch2/catch.hpp>

#include "pipeline/boot/vmm/vm_exit_reason.hpp"
#include "tests/pipeline/store/store_folder.hpp"

#include <fstream>

using namespace nanobox;

namespace {

VmExit panicked() {
  return {.exit_code = 0, .signal = {}, .guest_panicked = true, .guest_rebooted = false, .reason = {}};
}

VmExitStatus status_of(const std::string& record) {
  const test::StoreFolder folder;
  std::ofstream(folder / "exit") << record;
  return recorded_exit(folder.path()).value_or(VmExitStatus{});
}

}  // namespace

TEST_CASE("a guest that halts and a VMM that is killed are ends of the VM", "[death]") {
  const VmExit halted{.exit_code = 0, .signal = {}, .guest_panicked = false, .guest_rebooted = true, .reason = {}};
  CHECK(cause_of(halted, 0, "reboot: Restarting system\n") == DeathCause::vm_exit);
  const VmExit killed{.exit_code = {}, .signal = 9, .guest_panicked = false, .guest_rebooted = false, .reason = {}};
  CHECK(cause_of(killed, 0, "") == DeathCause::vm_exit);
}

TEST_CASE("a VMM that the host's kernel killed for want of memory is out of memory", "[death]") {
  const VmExit killed{.exit_code = {}, .signal = 9, .guest_panicked = false, .guest_rebooted = false, .reason = {}};
  CHECK(cause_of(killed, 1, "") == DeathCause::out_of_memory);
}

TEST_CASE("a panic is told from a guest without memory by the panic's words", "[death]") {
  CHECK(cause_of(panicked(), 0, "Kernel panic - not syncing: sysrq triggered crash\n") == DeathCause::kernel_panic);
  CHECK(cause_of(panicked(), 0, "Kernel panic - not syncing: VFS: Unable to mount root fs\n") ==
        DeathCause::kernel_panic);
  CHECK(cause_of(panicked(), 0, "") == DeathCause::kernel_panic);  // the VMM alone said so
  CHECK(cause_of(panicked(), 0, "Kernel panic - not syncing: Out of memory and no killable processes...\n") ==
        DeathCause::out_of_memory);
  CHECK(cause_of(panicked(), 0, "Kernel panic - not syncing: System is deadlocked on memory\n") ==
        DeathCause::out_of_memory);
  CHECK(cause_of(panicked(), 0, "Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled\n") ==
        DeathCause::out_of_memory);
}

TEST_CASE("a panic for the death of the guest's init is one of memory where memory killed it", "[death]") {
  const std::string end = "[    9.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009\n";
  CHECK(cause_of(panicked(), 0, end) == DeathCause::kernel_panic);
  CHECK(cause_of(panicked(), 0, "[    9.0] Out of memory: Killed process 1 (init) total-vm:1kB\n" + end) ==
        DeathCause::out_of_memory);
  // Another process died of it earlier, which it survived.
  CHECK(cause_of(panicked(), 0, "[    5.0] Out of memory: Killed process 123 (node) total-vm:1kB\n" + end) ==
        DeathCause::kernel_panic);
}

TEST_CASE("what a tiny parent noted of its VMM's end is read, also that of an earlier version", "[death]") {
  const auto killed = status_of("killed 9\nspent 2500000 104857600 1\n");
  CHECK(killed.signal == 9);
  CHECK(killed.spent == VmSpent{.cpu_us = 2'500'000, .memory_peak_bytes = 104'857'600});
  CHECK(killed.oom_kills == 1);
  const auto earlier = status_of("exited 0\n");
  CHECK(earlier.exit_code == 0);
  CHECK_FALSE(earlier.spent);
  CHECK_FALSE(status_of("exited 0\nspent lots\n").spent);
  CHECK_FALSE(status_of("vanished 0\n").exit_code);
}

TEST_CASE("a VMM that somebody killed is told from one that ended of itself", "[death]") {
  const auto killed = to_vm_exit({.status = status_of("killed 9\nspent 1 1 0\n")});
  CHECK(killed.reason.find("which nanoboxd did not send") != std::string::npos);
  CHECK(to_vm_exit({.status = status_of("killed 9\nspent 1 1 1\n")}).reason ==
        "it exceeded its memory limit and was killed by the host");
}
