#include "tools/nanobox/interruption.hpp"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace nanobox::cli {

Interruption::Interruption() {
  sigset_t taken;
  sigemptyset(&taken);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&taken, number);
  pthread_sigmask(SIG_BLOCK, &taken, &before_);
  signals_.reset(::signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
}

Interruption::~Interruption() {
  check();  // what still waits would end us now, in the middle of leaving
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool Interruption::check() {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) signal_ = last_ = static_cast<int>(info.ssi_signo);
  return signal_ != 0;
}

}  // namespace nanobox::cli
