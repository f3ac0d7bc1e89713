#pragma once

#include <csignal>

#include "config/unique_fd.hpp"

namespace nanobox::cli {

/// SIGINT, SIGTERM and SIGHUP as a descriptor: they no longer end this process, but wake whoever polls.
class Interruption {
public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  int fd() const noexcept { return signals_.get(); }
  /// Whether one has come; takes what is waiting.
  bool check();
  /// Forgets the first, so that cleaning up can be interrupted by a second.
  void forget() noexcept { signal_ = 0; }
  /// The exit status that says so: 128 + signal.
  int exit_code() const noexcept { return 128 + last_; }

private:
  UniqueFd signals_;
  sigset_t before_{};
  int signal_ = 0;
  int last_ = SIGINT;
};

}  // namespace nanobox::cli
