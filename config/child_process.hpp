#pragma once

#include <sys/types.h>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// A program to run. Descriptors not named here are closed in it; 0, 1 and 2 are /dev/null unless named.
struct Command {
  struct Descriptor {
    int source = -1;  ///< borrowed for the call
    int target = 0;
  };
  std::filesystem::path program;                ///< absolute, or looked up in PATH when it has no slash
  std::vector<std::string> arguments;           ///< without argv[0]
  std::optional<std::vector<std::string>> env;  ///< "K=V"; none: this process' own
  std::vector<Descriptor> descriptors;
};

/// How a child ended.
struct ChildExit {
  std::optional<int> exit_code;
  std::optional<int> signal;
  bool succeeded() const { return exit_code == 0; }
};

/// A child held by its pidfd, in a session of its own; the destructor kills it and reaps. Move-only. For everything
/// that is not a VMM (those are VmProcess, and live on).
class ChildProcess {
public:
  /// @errors file_unreadable when the program cannot be executed · io_failed
  static Result<ChildProcess> spawn(const Command& command);

  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  pid_t pid() const noexcept { return pid_; }
  /// Readable once the child has ended: poll it, never sleep.
  const UniqueFd& pidfd() const noexcept { return pidfd_; }
  /// Waits for its end and reaps it. @errors deadline_exceeded when it still runs after `patience`
  Result<ChildExit> wait(std::chrono::milliseconds patience);
  /// Sends a signal; nothing happens when it has ended.
  void signal(int number) noexcept;

private:
  ChildProcess(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  void kill_and_reap() noexcept;

  pid_t pid_ = -1;
  UniqueFd pidfd_;
  std::optional<ChildExit> exit_;
};

struct CommandOutput {
  ChildExit exit;
  std::string out;
  std::string err;
};

/// Runs a command to its end and collects what it says, at most `max_bytes` of each stream (the rest is dropped).
/// @errors deadline_exceeded (it was killed) · those of ChildProcess::spawn
Result<CommandOutput> run_command(const Command& command, std::chrono::milliseconds patience,
                                  std::size_t max_bytes = 1U << 20);

}  // namespace nanobox
