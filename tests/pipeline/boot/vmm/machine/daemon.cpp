// Plays a daemon that starts a VM and is killed: vmm-test-daemon DATA ID. Says the VM's identity once it is ready.
#include <unistd.h>

#include <cstdio>

#include "tests/pipeline/boot/vmm/machine/lab.hpp"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    nanobox::test::Lab lab(argv[1]);
    nanobox::test::Log log;
    const auto driver = lab.driver();
    const auto vm = nanobox::test::must(driver->start(lab.spec(argv[2]), log.events()));
    if (!log.wait_ready()) return 3;
    std::puts(to_json(vm->identity()).c_str());
    std::fflush(stdout);
    for (;;) pause();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
