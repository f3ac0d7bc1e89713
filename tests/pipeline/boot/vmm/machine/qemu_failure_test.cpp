#include <sys/mount.h>

#include <catch2/catch.hpp>

#include "tests/pipeline/boot/vmm/machine/lab.hpp"

using namespace nanobox;
using namespace nanobox::test;
using Catch::Matchers::Contains;

TEST_CASE("a guest whose kernel panics ends as panicked, with the kernel's words", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  Log log;
  auto vm = must(driver->start(lab.spec("sb-panic"), log.events()));
  REQUIRE(log.wait_ready());
  say(*vm, "panic");
  const auto exit = log.wait_exit();
  REQUIRE(exit);
  CHECK(exit->guest_panicked);
  CHECK_THAT(exit->reason, Contains("Kernel panic - not syncing: Attempted to kill init"));
  CHECK_THAT(vm->console_tail(65536), Contains("Attempted to kill init"));
}

TEST_CASE("a full host disk is told, and the guest goes on once there is space", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  auto spec = lab.spec("sb-full");
  const auto small = folder.path() / "small";
  fs::create_directory(small);
  if (mount("small", small.c_str(), "tmpfs", 0, "size=2m") != 0) {
    WARN("skipped: this user may not mount a small file system");
    return;
  }
  const auto unmount = [&](int*) { umount2(small.c_str(), MNT_DETACH); };
  int mounted = 1;
  const std::unique_ptr<int, decltype(unmount)> guard(&mounted, unmount);
  fs::copy_file(spec.overlay, small / "disk.qcow2");
  spec.overlay = small / "disk.qcow2";

  Log log;
  auto vm = must(driver->start(spec, log.events()));
  REQUIRE(log.wait_ready());
  say(*vm, "fill 4");
  CHECK(log.wait_full_disk());
  CHECK(mount("small", small.c_str(), "tmpfs", MS_REMOUNT, "size=32m") == 0);
  vm->resume_after_disk_error();
  CHECK(log.wait_text("filled"));
  vm->end();
  CHECK(log.wait_exit());
}

TEST_CASE("a root without an init is a panic too", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  Log log;
  auto spec = lab.spec("sb-no-init");
  spec.boot_args = "console=ttyS0 init=/not/there";
  auto vm = must(driver->start(spec, log.events()));
  const auto exit = log.wait_exit();
  REQUIRE(exit);
  CHECK(exit->guest_panicked);
  CHECK_THAT(exit->reason, Contains("Requested init /not/there failed"));
}

TEST_CASE("a missing kernel is named before anything starts", "[qemu]") {
  const Folder folder;
  Lab lab(folder.path());
  auto spec = lab.spec("sb-no-kernel");
  spec.kernel = folder.path() / "vmlinux";
  const auto vm = lab.driver()->start(spec, {});
  REQUIRE_FALSE(vm);
  CHECK(vm.error().code == ErrorCode::kernel_missing);
  CHECK(vm.error().subject == spec.kernel);
  CHECK_FALSE(vm.error().mend.empty());
  CHECK(fs::is_empty(spec.run_dir));
}

TEST_CASE("a VMM that dies at its start is told in its own words, and nothing is left", "[qemu]") {
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  auto spec = lab.spec("sb-dies");
  spec.kernel = folder.path() / "vmlinux";
  std::ofstream(spec.kernel) << "no kernel at all";
  Log log;
  const auto vm = driver->start(spec, log.events());
  REQUIRE_FALSE(vm);
  CHECK(vm.error().code == ErrorCode::vmm_failed);
  CHECK_THAT(vm.error().reason, Contains("code 1") && Contains("kernel"));
  CHECK(log.seen() == 0);
  const auto leftovers = must(ConfinementHost::detect(lab.data(), VMM_TEST_PARENT)).cgroups.remove_leftovers({});
  CHECK(must(leftovers) == 0);
}

TEST_CASE("a VMM whose preload is missing or wrong never gets as far as a guest", "[qemu]") {
  const Folder folder;
  Lab lab(folder.path());
  const auto driver = lab.driver();
  const auto spec = lab.spec("st-unsafe");
  std::ofstream(spec.memory_file, std::ios::in | std::ios::out) << "the template's";
  const auto prepare = [&] {
    return driver->prepare({.id = "st-unsafe",
                            .vcpu = spec.vcpu,
                            .memory_mb = spec.memory_mb,
                            .memory_file = spec.memory_file,
                            .run_dir = spec.run_dir,
                            .uid = spec.uid});
  };
  must(prepare());  // which pins the VMM, and is let go of
  fs::path preload;
  for (const auto& entry : fs::recursive_directory_iterator(lab.data() / "vmm"))
    if (entry.path().filename() == "private_memory.so") preload = entry.path();
  REQUIRE_FALSE(preload.empty());
  fs::remove(preload);
  SECTION("missing: ld.so only warns") {}
  SECTION("no shared object: ld.so only warns") {
    std::ofstream(preload) << "no shared object";
  }
  SECTION("one that does nothing: the mapping is shared") {
    std::ofstream(folder.path() / "idle.c") << "void idle(void) {}\n";
    must_run({.program = "gcc",
              .arguments = {"-shared", "-fPIC", "-o", preload, folder.path() / "idle.c"},
              .env = {{"PATH=/usr/bin:/bin"}},
              .descriptors = {}});
    fs::permissions(preload, static_cast<fs::perms>(0555));
  }
  const auto unsafe = prepare();
  REQUIRE_FALSE(unsafe);
  CHECK(unsafe.error().code == ErrorCode::vmm_failed);
  Log log;
  CHECK_FALSE(driver->start(spec, log.events()));
  CHECK(log.seen() == 0);
  std::string begin(15, '?');
  std::ifstream(spec.memory_file, std::ios::binary).read(begin.data(), 15);
  CHECK(begin == std::string("the template's\0", 15));
  const auto leftovers = must(ConfinementHost::detect(lab.data(), VMM_TEST_PARENT)).cgroups.remove_leftovers({});
  CHECK(must(leftovers) == 0);
}

TEST_CASE("a start that nobody wants any more ends its VMM without waiting for it", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  Log log;
  std::stop_source stop;
  stop.request_stop();
  const auto vm = lab.driver()->start(lab.spec("sb-unwanted"), log.events(), stop.get_token());
  REQUIRE_FALSE(vm);
  CHECK(vm.error().code == ErrorCode::cancelled);
  CHECK(log.seen() == 0);
  const auto leftovers = must(ConfinementHost::detect(lab.data(), VMM_TEST_PARENT)).cgroups.remove_leftovers({});
  CHECK(must(leftovers) == 0);
}

TEST_CASE("a disk that is no qcow2 file is refused", "[qemu]") {
  NANOBOX_NEEDS_KERNEL();
  const Folder folder;
  Lab lab(folder.path());
  auto spec = lab.spec("sb-bad-disk");
  std::ofstream(spec.overlay) << std::string(4096, 'x');
  const auto vm = lab.driver()->start(spec, {});
  REQUIRE_FALSE(vm);
  CHECK(vm.error().subject == spec.overlay);
  CHECK(vm.error().reason == "it is no qcow2 file");
}

TEST_CASE("a VMM that is not there is named with the package to install", "[qemu]") {
  const Folder folder;
  const auto driver = make_qemu_driver({.kind = VmmKind::qemu_tcg,
                                        .data_folder = folder.path(),
                                        .binary = "qemu-system-nowhere",
                                        .pollers = must(PollerSet::start()),
                                        .confinement = must(ConfinementHost::detect(folder.path(), VMM_TEST_PARENT))});
  REQUIRE_FALSE(driver);
  CHECK(driver.error().code == ErrorCode::vmm_missing);
  CHECK(driver.error().subject == "qemu-system-nowhere");
  CHECK_THAT(driver.error().mend, Contains("qemu-system-x86"));
}
