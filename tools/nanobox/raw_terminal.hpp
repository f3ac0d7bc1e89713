#pragma once

#include <termios.h>

#include <optional>

#include "config/error.hpp"

namespace nanobox::cli {

/// A terminal in raw mode, and as it was again in every way out: `leave`, the destructor, a signal that ends this
/// process (SIGQUIT, SIGABRT, SIGSEGV, …; those that Interruption takes end it by the destructor). Only SIGKILL leaves
/// it raw. One at a time.
class RawTerminal {
public:
  /// @param fd  borrowed
  explicit RawTerminal(int fd) : fd_(fd) {}
  ~RawTerminal() { leave(); }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

  /// @errors io_failed: no terminal
  Result<void> enter();
  void leave() noexcept;

private:
  int fd_;
  std::optional<termios> before_;
};

struct TerminalSize {
  unsigned columns = 80;
  unsigned rows = 24;
  bool operator==(const TerminalSize&) const = default;
};
/// The size of the first of stdout, stdin and stderr that is a terminal; else 80 by 24.
TerminalSize terminal_size();

}  // namespace nanobox::cli
