#include "pipeline/boot/vmm/vm_parent/keeper.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "pipeline/boot/vmm/vm_parent/cgroup_account.hpp"

namespace nanobox {

namespace {

constexpr std::size_t half_bytes = 16U << 10;

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // a full disk: the log is a help, not a promise
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

/// The line `spent CPU_US MEMORY_PEAK_BYTES OOM_KILLS`.
std::string spent_line(const rusage& usage, std::string_view cgroup) {
  const auto account = account_of(cgroup);
  const auto microseconds = [](const timeval& time) { return std::int64_t{time.tv_sec} * 1'000'000 + time.tv_usec; };
  const auto resident = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  return "spent " + std::to_string(microseconds(usage.ru_utime) + microseconds(usage.ru_stime)) + " " +
         std::to_string(account.memory_peak_bytes != 0 ? account.memory_peak_bytes : resident) + " " +
         std::to_string(account.oom_kills) + "\n";
}

/// A new file of our own, whatever lay there.
UniqueFd create(int folder, const char* name) {
  ::unlinkat(folder, name, 0);
  return UniqueFd{::openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
}

}  // namespace

Result<void> write_record(int folder, const char* name, std::string_view content) {
  const std::string temporary = std::string{"."} + name + ".tmp";
  UniqueFd file = create(folder, temporary.c_str());
  if (!file) return fail(errno_error(errno, "write", name));
  const ssize_t count = ::write(file.get(), content.data(), content.size());
  if (count != static_cast<ssize_t>(content.size()))
    return fail(errno_error(count < 0 ? errno : ENOSPC, "write", name));
  if (::renameat(folder, temporary.c_str(), folder, name) != 0) return fail(errno_error(errno, "write", name));
  return {};
}

BoundedLog::BoundedLog(UniqueFd pipe, int folder) : pipe_(std::move(pipe)), file_(create(folder, "stderr")) {
  ::fcntl(pipe_.get(), F_SETFL, O_NONBLOCK);
}

bool BoundedLog::take() {
  char buffer[4096];
  for (;;) {
    const ssize_t count = ::read(pipe_.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return count < 0 && errno == EAGAIN;
    append({buffer, static_cast<std::size_t>(count)});
  }
}

void BoundedLog::append(std::string_view bytes) {
  const auto head = bytes.substr(0, half_bytes - head_bytes_);
  write_all(file_.get(), head);
  head_bytes_ += head.size();
  tail_.append(bytes.substr(head.size()));
  if (tail_.size() <= 2 * half_bytes) return;
  dropped_bytes_ += tail_.size() - half_bytes;
  tail_.erase(0, tail_.size() - half_bytes);
}

void BoundedLog::finish() {
  if (tail_.size() > half_bytes) {
    dropped_bytes_ += tail_.size() - half_bytes;
    tail_.erase(0, tail_.size() - half_bytes);
  }
  if (dropped_bytes_ > 0) write_all(file_.get(), "\n[" + std::to_string(dropped_bytes_) + " bytes not kept]\n");
  write_all(file_.get(), tail_);
  file_.reset();
}

void keep_until_exit(const UniqueFd& pidfd, BoundedLog& log, int folder, std::string_view cgroup) {
  bool writable_by_someone = true;
  for (;;) {
    pollfd watched[] = {{.fd = pidfd.get(), .events = POLLIN, .revents = 0},
                        {.fd = writable_by_someone ? log.pipe().get() : -1, .events = POLLIN, .revents = 0}};
    if (::poll(watched, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (watched[1].revents != 0) writable_by_someone = log.take();
    if (watched[0].revents != 0) break;
  }
  siginfo_t info{};
  rusage usage{};
  // The C library's waitid does not tell what the child has used.
  while (::syscall(SYS_waitid, P_PIDFD, pidfd.get(), &info, WEXITED, &usage) != 0)
    if (errno != EINTR) return;
  log.take();
  log.finish();
  const char* how = info.si_code == CLD_EXITED ? "exited " : "killed ";
  // Nobody is left to tell when the folder is gone: the VM was removed before it ended.
  (void)write_record(folder, "exit", how + std::to_string(info.si_status) + "\n" + spent_line(usage, cgroup));
}

}  // namespace nanobox
