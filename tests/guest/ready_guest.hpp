#pragma once

#include <string>

#include "tests/guest/guest_machine.hpp"

namespace nanobox::test {

/// A machine whose guest is configured.
struct ReadyGuest : GuestMachine {
  ReadyGuest() {
    open_session(false);
    configure();
  }
};

/// One for all the tests of a run that leave it usable: an emulated machine needs seconds to boot.
inline ReadyGuest& shared_guest() {
  static ReadyGuest guest;
  return guest;
}

inline ExecRequest shell_request(const std::string& script) {
  return {.argv = {"/bin/sh", "-c", script}};
}

}  // namespace nanobox::test
