#include "tools/nanobox/raw_terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

namespace nanobox::cli {
namespace {

constexpr std::array kDeadly = {SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGXCPU};

// What a signal handler puts back; tcsetattr is async-signal-safe.
volatile sig_atomic_t raw_fd = -1;
termios raw_before;
std::array<struct sigaction, kDeadly.size()> handlers_before;

/// Also where we are in the background, which would stop us instead.
void put_back(int fd, const termios& before) noexcept {
  sigset_t output, mask;
  sigemptyset(&output);
  sigaddset(&output, SIGTTOU);
  pthread_sigmask(SIG_BLOCK, &output, &mask);
  ::tcsetattr(fd, TCSADRAIN, &before);
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
}

extern "C" void nanobox_put_terminal_back(int number) {
  // Not drained: a terminal that takes no output must not keep us.
  if (raw_fd >= 0) ::tcsetattr(raw_fd, TCSANOW, &raw_before);
  ::raise(number);  // with SA_RESETHAND: does what it did before
}

}  // namespace

Result<void> RawTerminal::enter() {
  if (before_) return {};
  termios now{};
  if (::tcgetattr(fd_, &now) != 0) return fail(errno_error(errno, "use terminal", ""));
  raw_before = now;
  raw_fd = fd_;
  struct sigaction action {};
  action.sa_handler = nanobox_put_terminal_back;
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_NODEFER;
  sigfillset(&action.sa_mask);
  for (const int number : kDeadly) sigdelset(&action.sa_mask, number);
  for (std::size_t at = 0; at < kDeadly.size(); ++at) ::sigaction(kDeadly[at], &action, &handlers_before[at]);
  before_ = now;
  ::cfmakeraw(&now);
  if (::tcsetattr(fd_, TCSADRAIN, &now) == 0) return {};
  const int wrong = errno;
  leave();
  return fail(errno_error(wrong, "use terminal", ""));
}

void RawTerminal::leave() noexcept {
  if (!before_) return;
  put_back(fd_, *before_);
  raw_fd = -1;
  before_.reset();
  for (std::size_t at = 0; at < kDeadly.size(); ++at) ::sigaction(kDeadly[at], &handlers_before[at], nullptr);
}

TerminalSize terminal_size() {
  for (const int fd : {STDOUT_FILENO, STDIN_FILENO, STDERR_FILENO}) {
    winsize size{};
    if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0)
      return {.columns = size.ws_col, .rows = size.ws_row};
  }
  return {};
}

}  // namespace nanobox::cli
