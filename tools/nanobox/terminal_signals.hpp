#pragma once

#include <csignal>

#include "config/unique_fd.hpp"

namespace nanobox::cli {

/// What happens to a terminal and the job in it, as a descriptor: SIGWINCH (another size), SIGTSTP (stop, please),
/// SIGCONT (going on). To be made before there are threads.
class TerminalSignals {
public:
  TerminalSignals();
  ~TerminalSignals();
  TerminalSignals(const TerminalSignals&) = delete;
  TerminalSignals& operator=(const TerminalSignals&) = delete;

  int fd() const noexcept { return signals_.get(); }
  /// The next one that has come; 0: none.
  int next();

private:
  UniqueFd signals_;
  sigset_t before_{};
};

}  // namespace nanobox::cli
