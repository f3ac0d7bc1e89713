#include "config/child_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <map>

namespace nanobox {

namespace {

using Clock = std::chrono::steady_clock;

/// posix_spawn's two plans, destroyed together.
struct SpawnPlan {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  SpawnPlan() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
};

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (auto& string : strings) result.push_back(string.data());
  result.push_back(nullptr);
  return result;
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000'000));
}

ChildExit to_exit(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return {.exit_code = info.si_status, .signal = {}};
  return {.exit_code = {}, .signal = info.si_status};
}

Error still_running(const std::string& subject) {
  return {.code = ErrorCode::deadline_exceeded,
          .attempted = "wait for the end of",
          .subject = subject,
          .reason = "it still runs after its deadline",
          .mend = ""};
}

}  // namespace

Result<ChildProcess> ChildProcess::spawn(const Command& command) {
  const std::string attempted = "run", subject = command.program.string();
  std::map<int, int> wanted;  // target → source
  UniqueFd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  if (!null) return fail(errno_error(errno, "open", "/dev/null"));
  for (int target = 0; target < 3; ++target) wanted[target] = null.get();
  for (const auto& descriptor : command.descriptors) wanted[descriptor.target] = descriptor.source;
  const int above = wanted.rbegin()->first + 1;

  // Every source moves above the highest target first, so that no target overwrites a source still needed.
  SpawnPlan plan;
  std::vector<UniqueFd> moved;
  for (const auto& [target, source] : wanted) {
    moved.emplace_back(::fcntl(source, F_DUPFD_CLOEXEC, above));
    if (!moved.back()) return fail(errno_error(errno, attempted, subject));
    posix_spawn_file_actions_adddup2(&plan.files, moved.back().get(), target);
  }
  for (int number = 0; number < above; ++number)
    if (!wanted.contains(number)) posix_spawn_file_actions_addclose(&plan.files, number);
  posix_spawn_file_actions_addclosefrom_np(&plan.files, above);

  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&plan.attributes, &none);
  posix_spawnattr_setsigdefault(&plan.attributes, &all);
  posix_spawnattr_setflags(&plan.attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  std::vector<std::string> argv{command.program.string()};
  argv.insert(argv.end(), command.arguments.begin(), command.arguments.end());
  std::vector<std::string> env = command.env.value_or(std::vector<std::string>{});
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv.front().c_str(), &plan.files, &plan.attributes, pointers(argv).data(),
                                   command.env ? pointers(env).data() : environ);
  if (error != 0) {
    const bool no_program = error == ENOENT || error == EACCES || error == ENOEXEC;
    return fail(errno_error(error, attempted, subject, no_program ? ErrorCode::file_unreadable : ErrorCode::io_failed));
  }
  ChildProcess child{pid, UniqueFd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))}};
  if (!child.pidfd_) return fail(errno_error(errno, "watch", subject));  // ~ChildProcess kills by pid: not yet reaped
  return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)), exit_(other.exit_) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    kill_and_reap();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    exit_ = other.exit_;
  }
  return *this;
}

ChildProcess::~ChildProcess() {
  kill_and_reap();
}

void ChildProcess::kill_and_reap() noexcept {
  if (pid_ < 0 || exit_) return;
  ::kill(pid_, SIGKILL);  // its number is ours until it is reaped
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0 && errno == EINTR) {
  }
  pid_ = -1;
}

Result<ChildExit> ChildProcess::wait(std::chrono::milliseconds patience) {
  if (exit_) return *exit_;
  const std::string subject = "process " + std::to_string(pid_);
  const auto deadline = Clock::now() + patience;
  for (;;) {
    pollfd ended{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&ended, 1, milliseconds_until(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return fail(errno_error(errno, "wait for the end of", subject));
    if (ready == 0) return fail(still_running(subject));
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) == 0) return exit_.emplace(to_exit(info));
    if (errno != EINTR) return fail(errno_error(errno, "wait for the end of", subject));
  }
}

void ChildProcess::signal(int number) noexcept {
  if (pidfd_ && !exit_) ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
}

Result<CommandOutput> run_command(const Command& command, std::chrono::milliseconds patience, std::size_t max_bytes) {
  const auto deadline = Clock::now() + patience;
  int out[2], err[2];
  if (::pipe2(out, O_CLOEXEC) != 0) return fail(errno_error(errno, "make a pipe", ""));
  UniqueFd out_read{out[0]}, out_write{out[1]};
  if (::pipe2(err, O_CLOEXEC) != 0) return fail(errno_error(errno, "make a pipe", ""));
  UniqueFd err_read{err[0]}, err_write{err[1]};

  Command piped = command;
  piped.descriptors.push_back({.source = out_write.get(), .target = 1});
  piped.descriptors.push_back({.source = err_write.get(), .target = 2});
  auto child = NANOBOX_TRY(ChildProcess::spawn(piped));
  out_write.reset();
  err_write.reset();

  CommandOutput output;
  struct Stream {
    UniqueFd& fd;
    std::string& text;
  } streams[] = {{out_read, output.out}, {err_read, output.err}};
  while (out_read || err_read) {
    pollfd readable[] = {{.fd = out_read.get(), .events = POLLIN, .revents = 0},
                         {.fd = err_read.get(), .events = POLLIN, .revents = 0}};
    const int ready = ::poll(readable, 2, milliseconds_until(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return fail(errno_error(errno, "read the output of", command.program.string()));
    if (ready == 0) return fail(still_running(command.program.string()));
    for (int i = 0; i < 2; ++i) {
      if (readable[i].revents == 0) continue;
      char buffer[16384];
      const ssize_t count = ::read(streams[i].fd.get(), buffer, sizeof buffer);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        streams[i].fd.reset();
        continue;
      }
      const auto room = max_bytes - std::min(max_bytes, streams[i].text.size());
      streams[i].text.append(buffer, std::min(room, static_cast<std::size_t>(count)));
    }
  }
  output.exit = NANOBOX_TRY(child.wait(std::chrono::milliseconds{milliseconds_until(deadline)}));
  return output;
}

}  // namespace nanobox
