// A guest that becomes another: configured again, frozen over a new session, restored from a snapshot.
#include <catch2/catch.hpp>
#include <set>
#include <sstream>

#include "guest/protocol.h"
#include "tests/guest/ready_guest.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kMebibyte = 1U << 20;

/// Writes the guest's uptime into /tmp/ticks for ever.
ExecRequest ticking() {
  auto request = shell_request("while :; do cut -d' ' -f1 /proc/uptime >>/tmp/ticks; done");
  request.process_id = "pr-ticking";
  request.detached = true;
  return request;
}

std::uint64_t uptime_ms(GuestMachine& guest) {
  guest.stats.reset();
  guest.session().ask_stats();
  guest.until([&] { return guest.stats.has_value(); });
  return guest.stats->uptime_ms;
}

void freeze(GuestMachine& guest) {
  const int before = guest.quiesced;
  guest.session().quiesce();
  guest.until([&] { return guest.quiesced > before; });
}

/// The largest gap between two ticks, in ms.
std::uint64_t longest_gap(GuestMachine& guest) {
  std::istringstream ticks(guest.shell("cat /tmp/ticks").out);
  double last = 0, longest = 0, tick = 0;
  while (ticks >> tick) {
    if (last > 0) longest = std::max(longest, tick - last);
    last = tick;
  }
  return static_cast<std::uint64_t>(longest * 1000);
}

/// The numbers in /tmp/random that were asked for after that uptime.
std::set<std::string> drawn_after(GuestMachine& guest, std::uint64_t milliseconds) {
  std::istringstream lines(guest.shell("cat /tmp/random").out);
  std::set<std::string> numbers;
  double since = 0;
  for (std::string number; lines >> since >> number;)
    if (since * 1000 > static_cast<double>(milliseconds)) numbers.insert(number);
  return numbers;
}

std::uint64_t root_megabytes(GuestMachine& guest) {
  return std::stoul(guest.shell("echo $(($(stat -f -c '%b*%S' /)/1048576))").out);
}

}  // namespace

TEST_CASE_METHOD(GuestMachine, "a second CONFIGURE leaves nothing of the first", "[guest]") {
  open_session(false);
  const auto seen = [this] {
    return shell(
               "echo $A $B $FROM_IMAGE; pwd; id -u; hostname; cat /etc/hostname /etc/resolv.conf; tail -n 1 /etc/hosts")
        .out;
  };
  ConfigureMessage first{.sandbox_id = "sb-1",
                         .hostname = "a-longer-name",
                         .resolver = "10.1.2.3",
                         .env = {"A=1", "B=2", "FROM_IMAGE=changed"},
                         .cwd = "/tmp",
                         .user = "worker",
                         .clock_ns = 2'000'000'000'000'000'000};
  configure(first);
  CHECK(seen() ==
        "1 2 changed\n/tmp\n1000\na-longer-name\na-longer-name\nnameserver 10.1.2.3\n127.0.1.1\ta-longer-name\n");

  configure({.sandbox_id = "sb-2", .hostname = "short", .env = {"B=3"}});
  CHECK(seen() == "3 yes\n/data\n0\nshort\nshort\n127.0.1.1\tshort\n");
  CHECK(shell("date -u +%Y").out == "2033\n");

  SECTION("what is no file any more is one again") {
    CHECK(shell("cd /etc; rm hostname hosts; ln -s /nowhere hostname; mkfifo hosts").exit->exit_code == 0);
    configure(first);
    CHECK(shell("test -f /etc/hostname -a ! -L /etc/hostname -a -f /etc/hosts").exit->exit_code == 0);
    CHECK(seen().ends_with("127.0.1.1\ta-longer-name\n"));
  }
  SECTION("what holds already is not written again") {
    const auto inodes = shell("stat -c '%i %y' /etc/hostname /etc/hosts").out;
    configure({.sandbox_id = "sb-2", .hostname = "short", .env = {"B=3"}});
    CHECK(shell("stat -c '%i %y' /etc/hostname /etc/hosts").out == inodes);
  }
  SECTION("a broken one changes nothing") {
    control_error.reset();
    std::vector<std::byte> frame;
    TlvWriter payload;
    payload.put(NANOBOX_TAG_HOSTNAME, "broken");
    auto bytes = payload.bytes();
    bytes.push_back(std::byte{1});
    append_frame(frame, {.type = NANOBOX_CONFIGURE, .flags = 0, .part = 0, .stream = 0, .payload = bytes});
    send_raw(frame);
    until([&] { return control_error.has_value(); });
    CHECK(control_error->reason == NANOBOX_REASON_BAD_REQUEST);
    CHECK(shell("hostname").out == "short\n");
  }
}

TEST_CASE_METHOD(ReadyGuest, "CONFIGURE waits for the disk's new size", "[guest]") {
  REQUIRE(root_megabytes(*this) < 16);

  SECTION("which has come") {
    monitor("block_resize disk 64M");
    configure({.sandbox_id = "sb-1", .hostname = "sb-1", .disk_bytes = 64 * kMebibyte});
    CHECK(root_megabytes(*this) > 50);
    CHECK(console().find("did not grow") == std::string::npos);
  }
  SECTION("which comes later") {
    configure({.sandbox_id = "sb-1", .hostname = "sb-1", .disk_bytes = 64 * kMebibyte});
    const auto waiting = start({.argv = {"true"}});
    let_pass(500ms);
    CHECK_FALSE(outcome(waiting).ended());
    monitor("block_resize disk 32M");
    let_pass(200ms);
    CHECK_FALSE(outcome(waiting).ended());
    const auto resized = std::chrono::steady_clock::now();
    monitor("block_resize disk 64M");
    finish(waiting);
    CHECK(std::chrono::steady_clock::now() - resized < 1s);
    CHECK(root_megabytes(*this) > 50);
    CHECK(console().find("did not grow") == std::string::npos);
  }
  SECTION("which never comes") {
    const auto begin = std::chrono::steady_clock::now();
    configure({.sandbox_id = "sb-1", .hostname = "sb-1", .disk_bytes = 64 * kMebibyte});
    CHECK(shell("hostname").out == "sb-1\n");
    CHECK(std::chrono::steady_clock::now() - begin > 1900ms);
    until([&] { return console().find("did not grow to 67108864") != std::string::npos; });
  }
}

TEST_CASE_METHOD(ReadyGuest, "what was frozen stays so over HELLO until CONFIGURE", "[guest]") {
  REQUIRE(session().open_exec(ticking()));
  auto limited = shell_request("sleep 2; echo slept");
  limited.deadline_ms = 3000;
  limited.process_id = "pr-limited";
  const auto sleeping = start(limited);
  until([&] { return outcome(sleeping).opened.has_value(); });
  let_pass(500ms);
  freeze(*this);
  const auto frozen_at = uptime_ms(*this);
  drop_session();
  open_session(true);
  session().ping(0);
  until([&] { return pong.has_value(); });
  CHECK(processes().size() == 2);
  let_pass(4s);
  const auto thawed_at = uptime_ms(*this);
  CHECK(thawed_at >= frozen_at + 4000);
  configure();
  const auto gap = longest_gap(*this);
  CHECK(gap + 50 >= thawed_at - frozen_at);
  // Its deadline stood still too.
  const auto attached = session().open_attach({.process_id = "pr-limited"});
  CHECK(finish(attached).out == "slept\n");
  CHECK_FALSE(finish(attached).exit->timed_out);
}

TEST_CASE_METHOD(ReadyGuest, "a copy becomes itself before anything old runs in it", "[guest]") {
  REQUIRE(session().open_exec(ticking()));
  const auto talking = start(shell_request("while :; do echo x; sleep 0.05; done"));
  until([&] { return outcome(talking).out.size() > 4; });
  shell(
      "(while :; do since=$(cut -d' ' -f1 /proc/uptime); drawn=$(dd if=/dev/urandom bs=8 count=1 2>/dev/null | od -An "
      "-tx1);"
      " echo $since ${drawn// /} >>/tmp/random; done) >/dev/null 2>&1 &");
  let_pass(300ms);
  freeze(*this);
  GuestMachine copy({.kernel_arguments = "", .copy_of = this});
  monitor("cont");

  // In the middle of its parent's session, it takes a new one.
  copy.open_session(true);
  CHECK(copy.up().boot_id == up().boot_id);
  const auto before = uptime_ms(copy);
  copy.let_pass(1s);
  copy.session().ping(0);
  copy.until([&] { return copy.pong.has_value(); });
  const auto frozen_ms = uptime_ms(copy) - before;
  copy.monitor("block_resize disk 48M");
  ConfigureMessage message{.sandbox_id = "sb-copy",
                           .hostname = "sb-copy",
                           .env = {"COPY=1"},
                           .clock_ns = 2'000'000'000'000'000'000,
                           .disk_bytes = 48 * kMebibyte};
  message.entropy.fill(std::byte{7});
  copy.configure(message);
  CHECK(copy.shell("hostname; echo $COPY; date -u +%Y").out == "sb-copy\n1\n2033\n");
  CHECK(root_megabytes(copy) > 40);
  CHECK(longest_gap(copy) + 50 >= frozen_ms);

  // Its parent goes on with its streams.
  const auto so_far = outcome(talking).out.size();
  session().thaw();
  until([&] { return thawed == 1 && outcome(talking).out.size() > so_far + 4; });
  CHECK(shell("hostname").out == "sb-test\n");
  // What both drew since is not the same.
  let_pass(500ms);
  const auto here = drawn_after(*this, before), there = drawn_after(copy, before);
  CHECK(here.size() > 3);
  CHECK(there.size() > 3);
  for (const auto& number : here) CHECK_FALSE(there.contains(number));
}
