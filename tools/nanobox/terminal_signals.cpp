#include "tools/nanobox/terminal_signals.hpp"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace nanobox::cli {

TerminalSignals::TerminalSignals() {
  sigset_t taken;
  sigemptyset(&taken);
  for (const int number : {SIGWINCH, SIGTSTP, SIGCONT}) sigaddset(&taken, number);
  pthread_sigmask(SIG_BLOCK, &taken, &before_);
  signals_.reset(::signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
}

TerminalSignals::~TerminalSignals() {
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

int TerminalSignals::next() {
  signalfd_siginfo info;
  return ::read(signals_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

}  // namespace nanobox::cli
