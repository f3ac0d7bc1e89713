// Plays a daemon: starts a VMM, says "started", and waits to be killed. As another user where one is named.
// Arguments: data folder, run folder, parent program, stand-in, user id (0: stay)

#include <grp.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "pipeline/boot/vmm/vm_process.hpp"

using namespace nanobox;

namespace {

int start(char** arguments) {
  const auto user = static_cast<uid_t>(std::atoi(arguments[5]));
  if (user != 0 &&
      (::setgroups(0, nullptr) != 0 || ::setresgid(user, user, user) != 0 || ::setresuid(user, user, user) != 0))
    return 2;
  const auto host = ConfinementHost::detect(arguments[1], arguments[3]);
  if (!host) return std::printf("failed %s\n", describe(host.error()).c_str());
  VmProcessSpec spec;
  spec.name = "daemons";
  spec.program = arguments[4];
  spec.argv = {arguments[4], "wait"};
  spec.root = {{.kind = RootEntry::Kind::file, .source = arguments[4], .target = arguments[4]}};
  spec.uid = spec.gid = 61'500;
  spec.run_dir = arguments[2];
  spec.limits.cgroup = {.memory_bytes = 64U << 20, .cpu_percent = 0, .max_pids = 8};
  const auto process = VmProcess::spawn(*host, spec);
  if (!process) return std::printf("failed %s\n", describe(process.error()).c_str());
  std::printf("started %s", std::string{to_string(host->report.level)}.c_str());
  for (const auto& gap : host->report.gaps) std::printf(" [%s]", gap.what.c_str());
  std::printf("\n");
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 6 || start(arguments) == 2) return 2;
  std::fflush(stdout);
  for (;;) ::pause();
}
