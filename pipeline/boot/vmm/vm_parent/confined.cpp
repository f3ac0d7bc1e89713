#include "pipeline/boot/vmm/vm_parent/confined.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>

#include "pipeline/boot/vmm/vm_parent/new_root.hpp"
#include "pipeline/boot/vmm/vm_parent/privileges.hpp"

namespace nanobox {

namespace {

Error failure(std::string attempted, std::string subject) {
  return errno_error(errno, std::move(attempted), std::move(subject), ErrorCode::vmm_failed);
}

Result<void> wait_for_parent(int go) {
  char byte = 0;
  ssize_t count = 0;
  while ((count = ::read(go, &byte, 1)) < 0 && errno == EINTR) {
  }
  if (count == 1) return {};
  return fail({.code = ErrorCode::vmm_failed,
               .attempted = "start",
               .subject = "the VMM",
               .reason = "its parent ended",
               .mend = ""});
}

Result<void> join_cgroups(std::span<const UniqueFd> tasks) {
  for (const auto& file : tasks)
    if (::write(file.get(), "0", 1) != 1) return fail(failure("join", "the VMM's cgroup"));
  return {};
}

/// Lowering the score needs a privilege; a daemon without it keeps its own.
void set_oom_score(int score) {
  const UniqueFd file{::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)};
  const std::string text = std::to_string(score);
  if (file && ::write(file.get(), text.data(), text.size()) < 0) return;
}

Result<void> set_limits(const Launch& launch) {
  for (const auto& limit : launch.limits) {
    rlimit now{};
    const auto resource = static_cast<__rlimit_resource>(limit.resource);
    if (::getrlimit(resource, &now) != 0) return fail(failure("read", "a resource limit"));
    const rlim_t value = std::min<rlim_t>(limit.value, now.rlim_max);
    const rlimit wanted{.rlim_cur = value, .rlim_max = value};
    if (::setrlimit(resource, &wanted) != 0) return fail(failure("set", "a resource limit"));
  }
  return {};
}

/// Leaves 0 (/dev/null already), 1, 2, the launch's targets, and what exec closes. @returns where `failure` is now
Result<int> arrange_descriptors(const Launch& launch, const ConfinedDescriptors& descriptors) {
  int above = 3;
  for (const int target : launch.descriptor_targets) above = std::max(above, target + 1);
  const int failure_fd = ::fcntl(descriptors.failure, F_DUPFD_CLOEXEC, above);
  const int log = ::fcntl(descriptors.log, F_DUPFD_CLOEXEC, above);
  if (failure_fd < 0 || log < 0) return fail(failure("arrange", "descriptors"));
  std::vector<int> moved;
  for (const auto& fd : descriptors.inherited) {
    moved.push_back(::fcntl(fd.get(), F_DUPFD_CLOEXEC, above));
    if (moved.back() < 0) return fail(failure("arrange", "descriptors"));
  }
  if (::dup2(log, 1) < 0 || ::dup2(log, 2) < 0) return fail(failure("arrange", "descriptors"));
  if (above > 3) ::close_range(3, static_cast<unsigned>(above) - 1, 0);
  for (std::size_t i = 0; i < moved.size(); ++i)
    if (::dup2(moved[i], launch.descriptor_targets[i]) < 0) return fail(failure("arrange", "descriptors"));
  if (::close_range(static_cast<unsigned>(above), ~0U, CLOSE_RANGE_CLOEXEC) != 0)
    return fail(failure("close", "descriptors"));
  return failure_fd;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (const auto& string : strings) result.push_back(const_cast<char*>(string.c_str()));
  result.push_back(nullptr);
  return result;
}

/// All signals as after boot. By the kernel's call, for the C library hides two that posix_spawn leaves ignored.
void reset_signals() {
  const struct {
    void* handler;
    unsigned long flags;
    void* restorer;
    std::uint64_t mask;
  } initial{};
  for (int number = 1; number <= 64; ++number)
    ::syscall(SYS_rt_sigaction, number, &initial, nullptr, sizeof initial.mask);
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &initial.mask, nullptr, sizeof initial.mask);
}

Result<void> confine(const Launch& launch, const ConfinedDescriptors& descriptors) {
  NANOBOX_TRY(wait_for_parent(descriptors.go));
  if (!launch.cloned_into_cgroup) NANOBOX_TRY(join_cgroups(descriptors.cgroups));
  set_oom_score(launch.oom_score_adj);
  if (::setsid() < 0) return fail(failure("begin", "a session"));
  ::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
  if (launch.joins_network && ::setns(descriptors.network, CLONE_NEWNET) != 0)
    return fail(failure("join", "the VM's network namespace"));
  if (launch.own_namespaces) {
    NANOBOX_TRY(enter_new_root(launch));
    if (::sethostname("vm", 2) != 0) return fail(failure("name", "the VMM's host"));
  }
  ::umask(077);
  reset_signals();
  return {};
}

}  // namespace

void become_confined(const Launch& launch, const ConfinedDescriptors& descriptors) {
  int failure_fd = descriptors.failure;
  const auto run = [&]() -> Result<void> {
    NANOBOX_TRY(confine(launch, descriptors));
    failure_fd = NANOBOX_TRY(arrange_descriptors(launch, descriptors));
    NANOBOX_TRY(set_limits(launch));
    NANOBOX_TRY(drop_privileges(launch));
    const auto argv = pointers(launch.argv), env = pointers(launch.env);
    NANOBOX_TRY(install_seccomp(launch.seccomp));
    ::execve(launch.program.c_str(), argv.data(), env.data());
    Error error = failure("run", launch.program);
    if (errno == ENOENT) error.code = ErrorCode::vmm_missing;
    if (errno == ENOENT) error.mend = "the program, or the loader it names, is not in the VMM's root";
    return fail(std::move(error));
  };
  const auto result = run();
  const std::string bytes = to_bytes(result.error());
  if (::write(failure_fd, bytes.data(), bytes.size()) < 0) ::_exit(126);
  ::_exit(127);
}

}  // namespace nanobox
