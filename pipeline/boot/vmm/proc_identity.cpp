#include "pipeline/boot/vmm/proc_identity.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string_view>

namespace nanobox {

namespace {

Error gone(pid_t pid, std::string reason) {
  return {.code = ErrorCode::guest_gone,
          .attempted = "find process",
          .subject = std::to_string(pid),
          .reason = std::move(reason),
          .mend = ""};
}

Result<std::string> read_proc(const std::string& path) {
  const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file) return fail(errno_error(errno, "read", path));
  char buffer[4096];
  const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
  if (count < 0) return fail(errno_error(errno, "read", path));
  return std::string(buffer, static_cast<std::size_t>(count));
}

}  // namespace

Result<std::string> boot_id() {
  auto id = NANOBOX_TRY(read_proc("/proc/sys/kernel/random/boot_id"));
  while (id.ends_with('\n')) id.pop_back();
  return id;
}

Result<std::uint64_t> start_time_ticks(pid_t pid) {
  const auto stat = read_proc("/proc/" + std::to_string(pid) + "/stat");
  if (!stat) return fail(gone(pid, "there is no such process"));
  // Field 2 is a name in brackets that may hold anything; field 3 follows its last bracket.
  std::string_view rest = *stat;
  rest.remove_prefix(std::min(rest.size(), rest.rfind(')') == std::string_view::npos ? 0 : rest.rfind(')') + 2));
  if (rest.starts_with('Z') || rest.starts_with('X')) return fail(gone(pid, "it has ended"));
  for (int field = 3; field < 22; ++field) rest.remove_prefix(std::min(rest.size(), rest.find(' ') + 1));
  std::uint64_t ticks = 0;
  if (std::from_chars(rest.data(), rest.data() + rest.size(), ticks).ec != std::errc{})
    return fail(gone(pid, "/proc does not tell when it started"));
  return ticks;
}

Result<ProcIdentity> identify(pid_t pid) {
  return ProcIdentity{
      .boot_id = NANOBOX_TRY(boot_id()), .pid = pid, .start_time_ticks = NANOBOX_TRY(start_time_ticks(pid))};
}

Result<UniqueFd> open_process(const ProcIdentity& identity) {
  if (identity.boot_id != NANOBOX_TRY(boot_id())) return fail(gone(identity.pid, "the machine was started anew"));
  if (identity.pid <= 0) return fail(gone(identity.pid, "that is no process"));
  UniqueFd pidfd{static_cast<int>(::syscall(SYS_pidfd_open, identity.pid, 0))};
  if (!pidfd && errno == ESRCH) return fail(gone(identity.pid, "there is no such process"));
  if (!pidfd) return fail(errno_error(errno, "watch process", std::to_string(identity.pid)));
  // Only now: if the one with this start time still has the number, it had it when the pidfd was opened.
  if (NANOBOX_TRY(start_time_ticks(identity.pid)) != identity.start_time_ticks)
    return fail(gone(identity.pid, "another process has its number now"));
  return pidfd;
}

}  // namespace nanobox
