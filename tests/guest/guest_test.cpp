#include <signal.h>

#include <catch2/catch.hpp>

#include "guest/embedded_init.hpp"
#include "guest/protocol.h"
#include "tests/guest/ready_guest.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

TEST_CASE("init is small enough to be in every image", "[guest]") {
  CHECK(embedded_init().size() < 300 * 1024);
}

TEST_CASE_METHOD(ReadyGuest, "commands run with their arguments, streams and codes", "[guest]") {
  until([this] { return console().find("NANOBOX_READY") != std::string::npos; });
  CHECK(up().version == NANOBOX_PROTOCOL_VERSION);
  CHECK(up().boot_id.size() == 36);

  auto outcome = shell("echo to-out; echo to-err >&2; exit 3");
  CHECK(outcome.out == "to-out\n");
  CHECK(outcome.err == "to-err\n");
  CHECK(outcome.exit->exit_code == 3);

  CHECK(run({.argv = {"echo", "found", "by PATH"}}).out == "found by PATH\n");
  CHECK(run({.argv = {"cat"}}, "through stdin").out == "through stdin");
  CHECK(shell("kill -9 $$").exit->signal == SIGKILL);

  outcome = run({.argv = {"no-such-program"}});
  CHECK(outcome.exit->exit_code == 127);
  CHECK(outcome.err == "nanobox: cannot run 'no-such-program': command not found\n");
  outcome = run({.argv = {"/data/not-executable"}});
  CHECK(outcome.exit->exit_code == 126);

  SECTION("many at once, each with its own answer") {
    std::vector<std::uint32_t> streams;
    for (int i = 0; i < 40; ++i) streams.push_back(start(shell_request("echo " + std::to_string(i) + "; exit 1")));
    for (std::size_t i = 0; i < streams.size(); ++i) {
      until([&] { return GuestMachine::outcome(streams[i]).ended(); });
      CHECK(GuestMachine::outcome(streams[i]).out == std::to_string(i) + "\n");
    }
  }
}

TEST_CASE_METHOD(GuestMachine, "environment, folder and user are the image's unless asked otherwise", "[guest]") {
  open_session(false);
  configure({.sandbox_id = "sb-1", .hostname = "sb-one", .resolver = "10.1.2.3", .env = {"FROM_SANDBOX=too"}});

  CHECK(shell("echo $FROM_IMAGE $FROM_SANDBOX $HOME; pwd; id -u").out == "yes too /root\n/data\n0\n");
  CHECK(run({.argv = {"/bin/sh", "-c", "echo $FROM_IMAGE $MINE"}, .env = {"MINE=1", "FROM_IMAGE=no"}}).out == "no 1\n");
  CHECK(run({.argv = {"pwd"}, .cwd = "/tmp"}).out == "/tmp\n");
  CHECK(shell("hostname; cat /etc/hostname; cat /etc/resolv.conf; grep -c sb-one /etc/hosts").out ==
        "sb-one\nsb-one\nnameserver 10.1.2.3\n1\n");

  CHECK(run({.argv = {"/bin/sh", "-c", "id -u; id -g; id -G; echo $HOME"}, .user = "worker"}).out ==
        "1000\n1001\n1001 29 44\n/home/worker\n");
  CHECK(run({.argv = {"/bin/sh", "-c", "id -u; id -g"}, .user = "4321:audio"}).out == "4321\n29\n");
  CHECK(run({.argv = {"/bin/sh", "-c", "id -u; id -g"}, .user = "1000"}).out == "1000\n1001\n");

  CHECK(run({.argv = {"true"}, .user = "nosuch"}).error->reason == NANOBOX_REASON_USER_NOT_FOUND);
  CHECK(run({.argv = {"true"}, .user = "worker:nosuch"}).error->reason == NANOBOX_REASON_USER_NOT_FOUND);
  CHECK(run({.argv = {"true"}, .cwd = "/nosuch"}).error->reason == NANOBOX_REASON_CWD_NOT_FOUND);
  CHECK(run({.argv = {""}}).error->reason == NANOBOX_REASON_BAD_REQUEST);
}

TEST_CASE("CONFIGURE sets the clock and grows the file system", "[guest]") {
  GuestMachine guest({.kernel_arguments = "", .disk_mb = 64});
  guest.open_session(false);
  const auto blocks = [&] { return std::stoul(guest.shell("stat -f -c %b /").out); };
  const auto before = blocks();
  guest.configure({.sandbox_id = "sb-1", .hostname = "sb-1", .clock_ns = 2'000'000'000'000'000'000});
  CHECK(blocks() > 3 * before);
  CHECK(guest.shell("date -u +%Y-%m-%d").out == "2033-05-18\n");
  CHECK(guest.shell("dd if=/dev/zero of=/big bs=1M count=30 2>/dev/null; stat -c %s /big").out == "31457280\n");

  SECTION("a ping far away from the guest's clock sets it") {
    guest.session().ping(2'100'000'000'000'000'000);
    guest.until([&] { return guest.pong.has_value(); });
    CHECK(guest.pong->clock_ns == 2'100'000'000'000'000'000);
    CHECK(guest.shell("date -u +%Y").out == "2036\n");
  }
}

TEST_CASE_METHOD(ReadyGuest, "a stream without credit stops alone", "[guest]") {
  grants = false;
  const auto flood = start({.argv = {"cat", "/dev/zero"}});
  until([&] { return is_all_of_the_credit(outcome(flood).out.size()); });
  CHECK(run({.argv = {"echo", "others go on"}}).out == "others go on\n");
  const auto taken = outcome(flood).out.size();
  CHECK(is_all_of_the_credit(taken));
  session().grant(flood, static_cast<std::uint32_t>(taken));
  until([&] { return is_all_of_the_credit(outcome(flood).out.size() - taken); });
  session().close(flood);
  CHECK(shell("while pidof cat; do :; done; echo gone").out.ends_with("gone\n"));
}

TEST_CASE_METHOD(ReadyGuest, "tiny pieces cost their reader's credit too", "[guest]") {
  grants = false;
  const auto drops = start({.argv = {"dd", "if=/dev/zero", "bs=1", "count=20000", "status=none"}});
  run({.argv = {"sleep", "2"}});
  CHECK(outcome(drops).frames * NANOBOX_DATA_COST <= NANOBOX_INITIAL_CREDIT);
  grants = true;
  session().grant(drops, static_cast<std::uint32_t>(outcome(drops).out.size()));
  CHECK(finish(drops).out.size() == 20000);
}

TEST_CASE_METHOD(ReadyGuest, "megabytes go in and out whole", "[guest]") {
  std::string input;
  for (int i = 0; input.size() < (3U << 20); ++i) input += std::to_string(i) + "\n";
  const auto echoed = run({.argv = {"cat"}}, input);
  CHECK(echoed.out == input);
  CHECK(echoed.exit->exit_code == 0);
  // A command that reads no stdin takes nothing else down.
  CHECK(run({.argv = {"true"}}, input).exit->exit_code == 0);
}

TEST_CASE_METHOD(ReadyGuest, "a deadline ends a command and all it started", "[guest]") {
  ExecRequest request = shell_request("setsid sleep 1000 & sleep 1000");
  request.deadline_ms = 300;
  const auto outcome = run(request);
  CHECK(outcome.exit->timed_out);
  CHECK(outcome.exit->signal == SIGTERM);
  CHECK(shell("pidof sleep").exit->exit_code == 1);
  CHECK_FALSE(shell("exit 0").exit->timed_out);
}

TEST_CASE_METHOD(ReadyGuest, "TERM comes first, KILL two seconds later", "[guest]") {
  ExecRequest heeding = shell_request("trap 'echo bye; exit 9' TERM; while :; do sleep 0.1; done");
  ExecRequest stubborn = shell_request("trap '' TERM; echo ready; while :; do sleep 0.1; done");
  heeding.deadline_ms = stubborn.deadline_ms = 4000;
  const auto heeded = run(heeding);
  CHECK(heeded.out == "bye\n");
  CHECK(heeded.exit->exit_code == 9);
  CHECK(heeded.exit->timed_out);
  const auto ignored = run(stubborn);
  CHECK(ignored.exit->signal == SIGKILL);
  CHECK(ignored.exit->timed_out);

  const auto closed =
      start(shell_request("trap 'echo bye >/tmp/said; exit' TERM; echo ready; while :; do sleep 0.1; done"));
  until([&] { return outcome(closed).out == "ready\n"; });
  session().close(closed);
  CHECK(shell("while [ ! -e /tmp/said ]; do sleep 0.1; done; cat /tmp/said").out == "bye\n");
}

TEST_CASE_METHOD(ReadyGuest, "signals reach the command, closing ends it", "[guest]") {
  const auto trapping =
      start(shell_request("trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.1; done"));
  until([&] { return outcome(trapping).out == "ready\n"; });
  session().signal(trapping, SIGTERM);
  until([&] { return outcome(trapping).ended(); });
  CHECK(outcome(trapping).out == "ready\ncaught\n");
  CHECK(outcome(trapping).exit->exit_code == 5);

  const auto sleeping = start(shell_request("sleep 1000 & sleep 1000"));
  until([&] { return outcome(sleeping).pid != 0; });
  session().close(sleeping);
  CHECK(shell("while pidof sleep; do :; done; echo gone").out.ends_with("gone\n"));
  session().ask_stats();
  until([&] { return stats.has_value(); });
  CHECK(stats->commands == 0);
  CHECK(stats->memory_kb > 60'000);
  CHECK(stats->available_kb > 0);
}

TEST_CASE_METHOD(ReadyGuest, "background processes outlive their command and are reaped", "[guest]") {
  CHECK(shell("sleep 0.5 & echo started").out == "started\n");
  CHECK(shell("sleep 1; pidof sleep | wc -w; ls /sys/fs/cgroup/nanobox | grep -c '^[0-9]'").out == "0\n1\n");
}

TEST_CASE_METHOD(ReadyGuest, "a host that died mid-frame comes back", "[guest]") {
  const auto boot_id = up().boot_id;
  const auto living = start(shell_request("echo before; sleep 2; echo after; exit 7"));
  until([&] { return outcome(living).out == "before\n"; });
  const auto pid = outcome(living).pid;
  // The head of a frame that announces 60,000 bytes, and no more.
  std::uint8_t half[NANOBOX_FRAME_HEADER + 3] = {NANOBOX_DATA};
  nanobox_put32(half + 8, 60'000);
  send_raw(std::as_bytes(std::span(half)));
  let_pass(200ms);
  drop_session();
  open_session(true);
  CHECK(up().boot_id == boot_id);
  CHECK(run({.argv = {"echo", "new session"}}).out == "new session\n");

  SECTION("what was left running goes on, and is attached to") {
    const auto attached = session().open_attach(pid);
    until([&] { return outcome(attached).ended(); });
    CHECK(outcome(attached).out == "after\n");
    CHECK(outcome(attached).exit->exit_code == 7);
  }
  SECTION("its last words are kept after its end") {
    CHECK(shell("while kill -0 " + std::to_string(pid) + " 2>/dev/null; do sleep 0.2; done").exit->exit_code == 0);
    const auto attached = session().open_attach(pid);
    until([&] { return outcome(attached).ended(); });
    CHECK(outcome(attached).out == "after\n");
    CHECK(outcome(attached).exit->exit_code == 7);
  }
  SECTION("a flood that nobody reads is kept to its last MiB") {
    const auto flood = start(shell_request("sleep 1; yes | head -c 5000000; echo end; : >/tmp/done; sleep 1000"));
    until([&] { return outcome(flood).pid != 0; });
    const auto flood_pid = outcome(flood).pid;
    drop_session();
    open_session(true);
    CHECK(shell("while [ ! -e /tmp/done ]; do sleep 0.2; done; sleep 0.5").exit->exit_code == 0);
    const auto attached = session().open_attach(flood_pid);
    until([&] { return outcome(attached).out.ends_with("end\n"); });
    CHECK(outcome(attached).out.size() == (1U << 20));
    session().signal(attached, SIGKILL);
    until([&] { return outcome(attached).ended(); });
  }
  SECTION("there is nothing to attach to under a wrong number") {
    const auto attached = session().open_attach(1);
    until([&] { return outcome(attached).ended(); });
    CHECK(outcome(attached).error->reason == NANOBOX_REASON_PROCESS_NOT_FOUND);
  }
}

TEST_CASE_METHOD(ReadyGuest, "a quiet guest sends nothing and runs nothing until it is thawed", "[guest]") {
  const auto counting = start(shell_request("while :; do echo x; sleep 0.05; done"));
  until([&] { return outcome(counting).out.size() > 4; });
  session().quiesce();
  until([&] { return quiesced == 1; });
  const auto silent_from = bytes_in;
  let_pass(500ms);
  CHECK(bytes_in == silent_from);
  const auto so_far = outcome(counting).out.size();

  SECTION("by THAW") {
    session().thaw();
    until([&] { return thawed == 1 && outcome(counting).out.size() > so_far; });
  }
  SECTION("by a new session's CONFIGURE") {
    drop_session();
    open_session(false);
    configure();
    CHECK(shell("pidof sleep sh | wc -w").exit->exit_code == 0);
  }
}

TEST_CASE("a shutdown ends the machine", "[guest]") {
  ReadyGuest guest;
  guest.start(shell_request("trap '' TERM; sleep 1000"));
  guest.session().shutdown();
  CHECK_THROWS(guest.until([] { return false; }, 20s));
  CHECK(guest.is_gone());
}

TEST_CASE("the console serves commands where the kernel's arguments ask for it", "[guest]") {
  GuestMachine guest({.kernel_arguments = "nanobox.serial_commands=1"});
  guest.open_session(false);
  guest.until([&] { return guest.console().find("NANOBOX_READY") != std::string::npos; });
  guest.write_console("echo script says $FROM_SCRIPT; (exit 4)\n");
  guest.until([&] { return guest.console().find("NANOBOX_DONE 4") != std::string::npos; });
  CHECK(guest.console().find("script says yes") != std::string::npos);
}

TEST_CASE_METHOD(ReadyGuest, "randomness is there at once", "[guest]") {
  CHECK(shell("dd if=/dev/random bs=64 count=1 2>/dev/null | wc -c").out == "64\n");
}
