#include <catch2/catch.hpp>

#include "pipeline/boot/vmm/driver.hpp"
#include "pipeline/boot/vmm/vm_exit_reason.hpp"

using namespace nanobox;

TEST_CASE("an identity survives being stored", "[identity]") {
  const VmIdentity identity{.sandbox_id = "sb-1",
                            .kind = VmmKind::qemu_kvm,
                            .boot_id = "8a4e",
                            .pid = 42,
                            .start_time_ticks = 18'446'744'073'709'551'615U,
                            .uuid = "u",
                            .vmm_digest = "d",
                            .run_dir = "/run/\"x\"",
                            .parent_pid = 41,
                            .parent_start_time_ticks = 7,
                            .cgroup = "v1 /a /b"};
  const auto read = vm_identity_from_json(to_json(identity));
  REQUIRE(read);
  CHECK(to_json(*read) == to_json(identity));
  CHECK(read->start_time_ticks == identity.start_time_ticks);
  CHECK(read->kind == VmmKind::qemu_kvm);
}

TEST_CASE("what is no identity is refused", "[identity]") {
  for (const auto* text :
       {"", "null", "[]", "{}", R"({"vmm":"qemu-tcg"})", R"({"vmm":"bochs","pid":1,"boot_id":"b"})"}) {
    const auto read = vm_identity_from_json(text);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == ErrorCode::store_failed);
  }
}

TEST_CASE("the most telling reason of a VM's end is given", "[identity]") {
  VmEnding ending;
  CHECK(to_vm_exit(ending).reason == "the VMM ended, and nobody recorded how");
  ending.status.exit_code = 1;
  ending.output = "warning: x\n/vmm/vmm: cannot allocate memory\n\n";
  CHECK(to_vm_exit(ending).reason == "the VMM ended with code 1: cannot allocate memory");
  ending.status = {.exit_code = {}, .signal = 11};
  CHECK(to_vm_exit(ending).reason == "the VMM was killed by signal 11: cannot allocate memory");
  ending.guest_rebooted = true;
  CHECK(to_vm_exit(ending).reason == "the guest shut down");
  ending.status.oom_kills = 1;
  CHECK(to_vm_exit(ending).reason == "it exceeded its memory limit and was killed by the host");
  ending.end_asked = true;
  CHECK(to_vm_exit(ending).reason == "it was ended");
  ending.guest_panicked = true;
  ending.console = "x\r\n[  1.2] Kernel panic - not syncing: VFS\x1b: oh\r\nmore";
  CHECK(to_vm_exit(ending).reason == "the guest's kernel panicked: Kernel panic - not syncing: VFS: oh");
}
