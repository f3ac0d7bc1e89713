#include <signal.h>

#include <catch2/catch.hpp>

#include "guest/protocol.h"
#include "tests/guest/ready_guest.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

ExecRequest on_terminal(const std::string& script, TerminalSize size = {}) {
  return {.argv = {"/bin/sh", "-c", script}, .terminal = size};
}

}  // namespace

TEST_CASE("a command on a terminal has one, of the size asked for", "[guest][terminal]") {
  auto& guest = shared_guest();
  const auto outcome = guest.finish(guest.session().open_exec(
      on_terminal("tty; stty size; echo $TERM; echo to-err >&2; exit 5", {.columns = 132, .rows = 43})));
  CHECK(outcome.out == "/dev/pts/0\r\n43 132\r\nxterm-256color\r\nto-err\r\n");
  CHECK(outcome.err.empty());
  CHECK(outcome.exit->exit_code == 5);
  auto request = on_terminal("echo $TERM; stat -c %u $(tty)");
  request.env = {"TERM=vt100"};
  request.user = "worker";
  CHECK(guest.finish(guest.session().open_exec(request)).out == "vt100\r\n1000\r\n");
}

TEST_CASE("a terminal's new size reaches its program", "[guest][terminal]") {
  auto& guest = shared_guest();
  const auto stream =
      *guest.session().open_exec(on_terminal("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done"));
  guest.until([&] { return guest.outcome(stream).out == "ready\r\n"; });
  guest.session().resize(stream, 100, 50);
  CHECK(guest.finish(stream).out == "ready\r\n50 100\r\n");
}

TEST_CASE("an interactive shell has job control", "[guest][terminal]") {
  auto& guest = shared_guest();
  auto& session = guest.session();
  const std::string prompt = "ready> ";
  const auto stream =
      *session.open_exec({.argv = {"/bin/sh", "-i"}, .env = {"PS1=" + prompt}, .terminal = TerminalSize{}});
  const auto& outcome = guest.outcome(stream);
  std::size_t seen = 0;
  const auto see = [&](const std::string& text) {
    guest.until([&] { return outcome.out.find(text, seen) != std::string::npos; });
    seen = outcome.out.find(text, seen) + text.size();
  };
  const auto type = [&](const std::string& text) { REQUIRE(session.write_stdin(stream, text, false)); };
  see(prompt);
  CHECK(outcome.out.find("job control turned off") == std::string::npos);

  type("sleep 1000\n");
  guest.shell("while ! pidof sleep; do :; done");
  type("\x03");
  see(prompt);
  type("echo code $?\n");
  see("\ncode 130");
  see(prompt);
  type("sleep 1000\n");
  guest.shell("while ! pidof sleep; do :; done");
  type("\x1a");
  see("Stopped");
  see(prompt);
  type("kill -9 %1; wait; echo killed\n");
  see("\nkilled");
  see(prompt);
  type("exit 6\n");
  CHECK(guest.finish(stream).exit->exit_code == 6);
}

TEST_CASE("the end of the input ends what reads a terminal", "[guest][terminal]") {
  auto& guest = shared_guest();
  auto request = on_terminal("stty -echo; echo ready; cat; echo done");
  const auto stream = *guest.session().open_exec(request);
  guest.until([&] { return guest.outcome(stream).out == "ready\r\n"; });
  SECTION("at the beginning of a line") {
    REQUIRE(guest.session().write_stdin(stream, "line\n", true));
    CHECK(guest.finish(stream).out == "ready\r\nline\r\ndone\r\n");
  }
  SECTION("in the middle of one") {
    REQUIRE(guest.session().write_stdin(stream, "li\xff\x80", true));
    CHECK(guest.finish(stream).out ==
          "ready\r\nli\xff\x80"
          "done\r\n");
  }
}

TEST_CASE("a closed terminal hangs up on its command", "[guest][terminal]") {
  auto& guest = shared_guest();
  const auto stream = *guest.session().open_exec(
      on_terminal("trap '' TERM; trap 'echo hup >/tmp/hup; exit' HUP; echo ready; while :; do sleep 0.1; done"));
  guest.until([&] { return guest.outcome(stream).out.find("ready") != std::string::npos; });
  guest.session().close(stream);
  CHECK(guest.shell("while [ ! -s /tmp/hup ]; do sleep 0.1; done; cat /tmp/hup").out == "hup\n");
}

TEST_CASE("a terminal's last words come before its end", "[guest][terminal]") {
  auto& guest = shared_guest();
  for (int i = 0; i < 10; ++i) {
    const auto outcome = guest.finish(guest.session().open_exec(on_terminal("yes 0123456 | head -n 2000; echo end")));
    CHECK(outcome.out.size() == 2000 * 9 + 5);
    CHECK(outcome.out.ends_with("end\r\n"));
  }
}

TEST_CASE("a detached terminal is read and resized by those who attach", "[guest][terminal]") {
  auto& guest = shared_guest();
  auto request = on_terminal("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done");
  request.process_id = "pr-term";
  request.detached = true;
  guest.session().open_exec(request);
  const auto reader = *guest.session().open_attach({.process_id = "pr-term"});
  guest.until([&] { return guest.outcome(reader).out == "ready\r\n"; });
  CHECK(guest.processes()["pr-term"].terminal);
  guest.session().resize(reader, 90, 30);
  CHECK(guest.finish(reader).out == "ready\r\n30 90\r\n");
}
