#include <signal.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>

#include "guest/protocol.h"
#include "tests/guest/ready_guest.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

/// Runs it in the background until its port is open.
std::uint32_t serve(GuestMachine& guest, const std::string& script, int port) {
  const auto stream = guest.start(shell_request(script));
  char hex[8];
  std::snprintf(hex, sizeof hex, ":%04X", port);
  guest.shell("while ! grep -q '" + std::string(hex) + " 0*:0000 0A' /proc/net/tcp /proc/net/tcp6; do :; done");
  return stream;
}

}  // namespace

TEST_CASE("a connection carries bytes both ways and ends in each direction", "[guest][tcp]") {
  auto& guest = shared_guest();
  std::string much;
  for (int i = 0; much.size() < (2U << 20); ++i) much += std::to_string(i) + " ";
  serve(guest, "nc -l -p 9001 -e cat", 9001);

  const auto stream = guest.session().open_tcp(9001);
  guest.send(stream, much);
  guest.until([&] { return guest.outcome(stream).out.size() == much.size(); });
  CHECK(guest.outcome(stream).opened);
  CHECK_FALSE(guest.outcome(stream).last);
  REQUIRE(guest.session().write_stdin(stream, "", true));

  CHECK(guest.finish(stream).exit);
  CHECK(guest.outcome(stream).last);
  CHECK(guest.outcome(stream).out == much);
}

TEST_CASE("a peer that has said all still listens", "[guest][tcp]") {
  auto& guest = shared_guest();
  serve(guest, "rm -f /tmp/heard; (echo said; exec 1>&-; sleep 0.5) | nc -l -p 9002 >/tmp/heard", 9002);
  const auto stream = guest.session().open_tcp(9002);
  guest.until([&] { return guest.outcome(stream).last; });
  CHECK(guest.outcome(stream).out == "said\n");
  CHECK_FALSE(guest.outcome(stream).ended());
  REQUIRE(guest.session().write_stdin(stream, "heard\n", true));
  CHECK(guest.finish(stream).exit);
  CHECK(guest.shell("while [ ! -s /tmp/heard ]; do :; done; cat /tmp/heard").out == "heard\n");
}

TEST_CASE("a port is reached on IPv6 where IPv4 has none", "[guest][tcp]") {
  auto& guest = shared_guest();
  guest.shell("echo 1 >/proc/sys/net/ipv6/bindv6only");
  serve(guest, "echo six | nc -l -p 9003", 9003);
  guest.shell("echo 0 >/proc/sys/net/ipv6/bindv6only");
  const auto stream = guest.session().open_tcp(9003);
  guest.until([&] { return guest.outcome(stream).out == "six\n"; });  // nc leaves at our end, whatever it still has
  REQUIRE(guest.session().write_stdin(stream, "", true));
  CHECK(guest.finish(stream).exit);
}

TEST_CASE("a connection that cannot be says why", "[guest][tcp]") {
  auto& guest = shared_guest();
  const auto refused = guest.finish(guest.session().open_tcp(9999));
  CHECK(refused.error->reason == NANOBOX_REASON_CONNECTION);
  CHECK(refused.error->error_number == ECONNREFUSED);
  CHECK(guest.finish(guest.session().open_tcp(0)).error->reason == NANOBOX_REASON_BAD_REQUEST);
}

TEST_CASE("a peer that is killed with bytes unread resets the connection", "[guest][tcp]") {
  auto& guest = shared_guest();
  serve(guest, "nc -l -p 9004 -e sleep 1000", 9004);
  const auto stream = guest.session().open_tcp(9004);
  REQUIRE(guest.session().write_stdin(stream, "nobody reads this", false));
  guest.until([&] { return guest.outcome(stream).opened.has_value(); });
  guest.shell("sleep 0.3; killall -9 sleep nc");
  const auto outcome = guest.finish(stream);
  REQUIRE(outcome.error);
  CHECK(outcome.error->error_number == ECONNRESET);
}

TEST_CASE("init's own log is read, and followed", "[guest][log]") {
  auto& guest = shared_guest();
  const auto whole = guest.finish(guest.session().open_log({}));
  CHECK(whole.opened->offset == 0);
  CHECK(whole.out.find("NANOBOX_READY\n") != std::string::npos);
  CHECK(whole.out.find("] configured\n") != std::string::npos);

  const auto following = guest.session().open_log({.offset = whole.out.size(), .follow = true});
  guest.until([&] { return guest.outcome(following).opened.has_value(); });
  auto late = shell_request("sleep 1000");
  late.deadline_ms = 100;
  guest.run(late);
  guest.until([&] { return guest.outcome(following).out.find("deadline") != std::string::npos; });
  CHECK_FALSE(guest.outcome(following).ended());
  guest.session().close(following);
}

TEST_CASE("streams that send all they can share the channel", "[guest][fairness]") {
  auto& guest = shared_guest();
  std::vector<std::uint32_t> streams;
  for (int i = 0; i < 8; ++i) streams.push_back(guest.start({.argv = {"cat", "/dev/zero"}}));
  const auto received = [&] {
    std::size_t sum = 0;
    for (const auto stream : streams) sum += guest.outcome(stream).out.size();
    return sum;
  };
  guest.until([&] { return received() > (32U << 20); });
  std::size_t least = SIZE_MAX;
  for (const auto stream : streams) least = std::min(least, guest.outcome(stream).out.size());
  CHECK(least * 2 >= received() / streams.size());
  for (const auto stream : streams) guest.session().close(stream);
}

TEST_CASE("a quiet guest's files and connections go on once it is thawed", "[guest]") {
  ReadyGuest guest;
  serve(guest, "nc -l -p 9005 -e cat", 9005);
  const auto tcp = guest.session().open_tcp(9005);
  const auto write = *guest.session().open_file_write({.path = "/tmp/thawed"});
  guest.until([&] { return guest.outcome(tcp).opened && guest.outcome(write).opened; });
  guest.session().quiesce();
  guest.until([&] { return guest.quiesced == 1; });
  REQUIRE(guest.session().write_stdin(tcp, "echo", true));
  REQUIRE(guest.session().write_stdin(write, "file", true));
  const auto silent_from = guest.bytes_in;
  guest.let_pass(300ms);
  CHECK(guest.bytes_in == silent_from);

  guest.session().thaw();

  CHECK(guest.finish(tcp).out == "echo");
  CHECK(guest.finish(write).exit);
  CHECK(guest.shell("cat /tmp/thawed").out == "file");
}

TEST_CASE("a new session finds nothing of the former one's streams", "[guest]") {
  ReadyGuest guest;
  serve(guest, "nc -l -p 9006 -e cat; echo hung up >/tmp/hung-up", 9006);
  const auto tcp = guest.session().open_tcp(9006);
  const auto log = guest.session().open_log({.follow = true});
  guest.until([&] { return guest.outcome(tcp).opened && guest.outcome(log).opened; });

  guest.drop_session();
  guest.open_session(true);

  CHECK(guest.shell("while [ ! -s /tmp/hung-up ]; do sleep 0.1; done; cat /tmp/hung-up").out == "hung up\n");
  CHECK(guest.shell("ls /proc/1/fd | wc -l").out.size() < 4);
}
