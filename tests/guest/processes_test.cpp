#include <signal.h>

#include <catch2/catch.hpp>

#include "guest/protocol.h"
#include "tests/guest/ready_guest.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

ExecRequest detached(const std::string& id, const std::string& script) {
  return {.argv = {"/bin/sh", "-c", script}, .process_id = id, .detached = true};
}

/// Starts it and waits until it runs.
std::uint32_t start_detached(GuestMachine& guest, const std::string& id, const std::string& script) {
  const auto stream = guest.session().open_exec(detached(id, script));
  guest.until([&] { return guest.outcome(*stream).opened.has_value(); });
  return guest.outcome(*stream).pid;
}

StreamOutcome output(GuestMachine& guest, const std::string& id, std::uint64_t offset = 0) {
  return guest.finish(guest.session().open_attach({.process_id = id, .offset = offset}));
}

std::uint32_t reason_of(const StreamOutcome& outcome) {
  return outcome.error ? outcome.error->reason : 0;
}

}  // namespace

TEST_CASE("a detached command's output is read from any offset, by any number", "[guest][processes]") {
  auto& guest = shared_guest();
  start_detached(guest, "pr-out", "echo one; sleep 0.3; echo two >&2; sleep 0.3; echo three; read line; exit 3");

  const auto first = *guest.session().open_attach({.process_id = "pr-out"});
  const auto second = *guest.session().open_attach({.process_id = "pr-out", .offset = 4});
  guest.until([&] { return guest.outcome(first).out == "one\nthree\n"; });
  guest.until([&] { return guest.outcome(second).out == "three\n"; });
  CHECK(guest.outcome(first).err == "two\n");
  CHECK(guest.outcome(first).parts ==
        std::vector{StreamPart::stdout_part, StreamPart::stderr_part, StreamPart::stdout_part});
  CHECK(guest.outcome(second).opened->offset == 4);
  CHECK(guest.outcome(second).parts == std::vector{StreamPart::stderr_part, StreamPart::stdout_part});

  guest.session().close(first);
  const auto input = *guest.session().open_input({.process_id = "pr-out"});
  REQUIRE(guest.session().write_stdin(input, "go\n", true));
  CHECK(guest.finish(input).exit);
  CHECK(guest.finish(second).exit->exit_code == 3);
  const auto late = output(guest, "pr-out", 8);
  CHECK(late.out == "three\n");
  CHECK(late.exit->exit_code == 3);
  CHECK(output(guest, "pr-out", 1000).out.empty());
}

TEST_CASE("a flood is kept to its last MiB, and a slow reader is told what it missed", "[guest][processes]") {
  auto& guest = shared_guest();
  guest.grants = false;
  start_detached(guest, "pr-flood", "read go; yes 0123456 | head -c 4000000; echo end");
  const auto slow = *guest.session().open_attach({.process_id = "pr-flood"});
  const auto input = *guest.session().open_input({.process_id = "pr-flood"});
  REQUIRE(guest.session().write_stdin(input, "\n", true));
  guest.finish(input);
  while (!guest.processes()["pr-flood"].ended) {
  }
  const auto taken = guest.outcome(slow).out.size();
  CHECK(is_all_of_the_credit(taken));

  guest.grants = true;
  guest.session().grant(slow, static_cast<std::uint32_t>(taken));
  const auto& read = guest.finish(slow);
  REQUIRE(read.gaps.size() == 1);
  CHECK(read.gaps[0] == 4000004 - NANOBOX_OUTPUT_KEPT);
  CHECK(read.out.size() == taken + NANOBOX_OUTPUT_KEPT);
  CHECK(read.out.ends_with("end\n"));
  const auto late = output(guest, "pr-flood");
  CHECK(late.opened->offset == 4000004 - NANOBOX_OUTPUT_KEPT);
  CHECK(late.out.size() == NANOBOX_OUTPUT_KEPT);
}

TEST_CASE("one at a time writes a command's stdin", "[guest][processes]") {
  auto& guest = shared_guest();
  start_detached(guest, "pr-in", "cat");
  const auto open = [&](bool eof) { return *guest.session().open_input({.process_id = "pr-in", .eof = eof}); };

  const auto first = open(false);
  const auto second = open(false);
  CHECK(reason_of(guest.finish(second)) == NANOBOX_REASON_STDIN_BUSY);
  const std::string much(600'000, 'm');
  guest.send(first, much);
  REQUIRE(guest.session().write_stdin(first, "", true));
  CHECK(guest.finish(first).exit);
  const auto left = open(false);
  guest.until([&] { return guest.outcome(left).opened.has_value(); });
  guest.session().close(left);
  const auto third = open(true);
  REQUIRE(guest.session().write_stdin(third, "the end", true));
  CHECK(guest.finish(third).exit);

  const auto whole = output(guest, "pr-in");
  CHECK(whole.out == much + "the end");
  CHECK(reason_of(guest.finish(open(true))) == NANOBOX_REASON_PROCESS_ENDED);

  start_detached(guest, "pr-deaf", "exec 0<&-; sleep 1000");
  const auto deaf = *guest.session().open_input({.process_id = "pr-deaf"});
  guest.until([&] { return guest.outcome(deaf).ended() || guest.outcome(deaf).opened; });
  guest.shell("sleep 0.3");
  REQUIRE(guest.session().write_stdin(deaf, "x", true));
  CHECK(reason_of(guest.finish(deaf)) == NANOBOX_REASON_STDIN_CLOSED);
  CHECK(reason_of(guest.finish(guest.session().open_input({.process_id = "pr-none"}))) ==
        NANOBOX_REASON_PROCESS_NOT_FOUND);
  guest.finish(guest.session().open_signal("pr-deaf", SIGKILL));
}

TEST_CASE("a command that ends by the last byte of its stdin took all of it", "[guest][processes]") {
  auto& guest = shared_guest();
  auto& session = guest.session();
  const auto written_to_its_end = [&](const std::string& id) {
    start_detached(guest, id, "read line");
    const auto input = *session.open_input({.process_id = id});
    REQUIRE(session.write_stdin(input, "line\n", false));
    while (!guest.processes()[id].ended) {
    }
    return input;
  };

  const auto whole = written_to_its_end("pr-last");
  REQUIRE(session.write_stdin(whole, "", true));
  CHECK(guest.finish(whole).exit);

  const auto more = written_to_its_end("pr-more");
  REQUIRE(session.write_stdin(more, "more\n", true));
  CHECK(reason_of(guest.finish(more)) == NANOBOX_REASON_PROCESS_ENDED);
}

TEST_CASE("commands are listed, signalled and forgotten by their ids", "[guest][processes]") {
  auto& guest = shared_guest();
  auto& session = guest.session();
  const auto pid = start_detached(guest, "pr-list", "echo hello; exec sleep 1000");
  CHECK(reason_of(guest.finish(session.open_exec(detached("pr-list", "true")))) == NANOBOX_REASON_PROCESS_EXISTS);
  while (guest.processes()["pr-list"].output_bytes != 6) {
  }

  auto listed = guest.processes()["pr-list"];
  CHECK(listed.pid == pid);
  CHECK(listed.argv == std::vector<std::string>{"/bin/sh", "-c", "echo hello; exec sleep 1000"});
  CHECK(listed.detached);
  CHECK_FALSE(listed.ended);
  CHECK_FALSE(listed.terminal);
  CHECK(listed.started_ns > 0);
  CHECK(reason_of(guest.finish(session.open_forget("pr-list"))) == NANOBOX_REASON_PROCESS_RUNNING);
  CHECK(reason_of(guest.finish(session.open_signal("pr-list", 65))) == NANOBOX_REASON_BAD_REQUEST);

  CHECK(guest.finish(session.open_signal("pr-list", SIGINT)).exit);
  const auto ended = output(guest, "pr-list");
  CHECK(ended.exit->signal == SIGINT);
  listed = guest.processes()["pr-list"];
  CHECK(listed.ended);
  CHECK(listed.signal == SIGINT);
  CHECK(reason_of(guest.finish(session.open_signal("pr-list", SIGINT))) == NANOBOX_REASON_PROCESS_ENDED);
  CHECK(guest.finish(session.open_forget("pr-list")).exit);
  CHECK_FALSE(guest.processes().contains("pr-list"));
  CHECK(reason_of(guest.finish(session.open_signal("pr-list", SIGINT))) == NANOBOX_REASON_PROCESS_NOT_FOUND);
  CHECK(reason_of(output(guest, "pr-list")) == NANOBOX_REASON_PROCESS_NOT_FOUND);
}

TEST_CASE("the newest ended commands are remembered, the newest outputs kept", "[guest][processes]") {
  ReadyGuest guest;
  for (int i = 0; i < 70; ++i) {
    start_detached(guest, "pr-" + std::to_string(i), "echo " + std::to_string(i));
    output(guest, "pr-" + std::to_string(i));
  }
  CHECK(guest.processes().size() == 64);
  CHECK(reason_of(output(guest, "pr-5")) == NANOBOX_REASON_PROCESS_NOT_FOUND);
  const auto old = output(guest, "pr-6");
  CHECK(old.out.empty());
  CHECK(old.opened->offset == 2);
  CHECK(old.exit->exit_code == 0);
  CHECK(output(guest, "pr-54").out == "54\n");
}

TEST_CASE("a command whose session ended is detached under its id", "[guest][processes]") {
  ReadyGuest guest;
  const auto attended = guest.session().open_exec(
      {.argv = {"/bin/sh", "-c", "echo before; read line; echo $line; exit 4"}, .process_id = "pr-mine"});
  guest.until([&] { return guest.outcome(*attended).out == "before\n"; });
  CHECK_FALSE(guest.processes()["pr-mine"].detached);
  CHECK(reason_of(output(guest, "pr-mine")) == NANOBOX_REASON_ATTENDED);

  guest.drop_session();
  guest.open_session(true);

  CHECK(guest.processes()["pr-mine"].detached);
  const auto reader = *guest.session().open_attach({.process_id = "pr-mine"});
  const auto input = *guest.session().open_input({.process_id = "pr-mine"});
  REQUIRE(guest.session().write_stdin(input, "after\n", true));
  CHECK(guest.finish(reader).out == "after\n");
  CHECK(guest.outcome(reader).opened->offset == 7);
  CHECK(guest.outcome(reader).exit->exit_code == 4);
}
