#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <future>

#include "pipeline/boot/vmm/qmp_session.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// The VMM's end of a conversation.
class Peer {
public:
  Peer() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0) {
      ours_.reset(ends[0]);
      theirs_.reset(ends[1]);
    }
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    setsockopt(ours_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  UniqueFd take_other() { return std::move(theirs_); }
  std::string read_line() {
    std::string line;
    for (char c = 0; read(ours_.get(), &c, 1) == 1 && c != '\n';) line += c;
    return line;
  }
  void say(std::string_view text) {
    REQUIRE(write(ours_.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  void hang_up() { ours_.reset(); }
  int fd() const { return ours_.get(); }

private:
  UniqueFd ours_, theirs_;
};

struct Conversation {
  Peer vmm;
  std::shared_ptr<Poller> poller = *Poller::start();
  std::promise<QmpMessage> event;
  std::shared_ptr<QmpSession> session =
      *QmpSession::open(poller, vmm.take_other(), [this](const QmpMessage& message) { event.set_value(message); });
  Conversation() { vmm.read_line(); }  // qmp_capabilities
  ~Conversation() { session->close(); }
};

}  // namespace

TEST_CASE("messages are the same however they are cut", "[qmp]") {
  const std::string stream =
      "{\"QMP\":{\"version\":{}}}\r\n{\"return\":{\"a\":[1,\"x\\\\\\\"}\"]},\"id\":7}\r\n\r\n"
      "{\"event\":\"STOP\",\"timestamp\":{}}\n{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},\"id\":8}\n";
  for (std::size_t step = 1; step <= stream.size(); ++step) {
    QmpReader reader;
    std::vector<QmpMessage> all;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      auto some = reader.read(bytes(std::string_view(stream).substr(at, step)));
      REQUIRE(some);
      all.insert(all.end(), some->begin(), some->end());
    }
    REQUIRE(all.size() == 4);
    CHECK(all[0].kind == QmpMessage::Kind::greeting);
    CHECK(all[1].id == 7);
    CHECK(all[1].body == R"({"a":[1,"x\\\"}"]})");
    CHECK(all[2].name == "STOP");
    CHECK(all[2].body == "{}");
    CHECK(all[3].description == "no");
  }
}

TEST_CASE("what is no message ends the conversation, in bounded memory and stack", "[qmp]") {
  for (const std::string& text : {std::string("nonsense\n"), std::string("[]\n"), std::string("{}\n"),
                                  std::string("{\"event\":7}\n"), std::string("{\"return\":\"\xff\"}\n"),
                                  "{\"return\":" + std::string(100'000, '[') + "\n", std::string((1 << 20) + 1, 'x')}) {
    QmpReader reader;
    const auto read = reader.read(bytes(text));
    REQUIRE_FALSE(read);
    CHECK(read.error().code == ErrorCode::vmm_failed);
  }
}

TEST_CASE("a command gets its own answer, events come in between", "[qmp]") {
  Conversation with;
  auto answer = std::async(std::launch::async, [&] { return with.session->call("query-status", R"({"x":1})", 10s); });
  CHECK(with.vmm.read_line() == R"({"execute":"query-status","arguments":{"x":1},"id":2})");
  with.vmm.say("{\"event\":\"RESUME\",\"data\":{\"y\":2}}\r\n{\"return\":{\"status\":\"running\"},\"id\":2}\r\n");
  const auto result = answer.get();
  REQUIRE(result);
  CHECK(json_string(*result, "status") == "running");
  CHECK(with.event.get_future().get().body == R"({"y":2})");
}

TEST_CASE("a refused command fails with the VMM's words", "[qmp]") {
  Conversation with;
  auto answer = std::async(std::launch::async, [&] { return with.session->call("cont", "", 10s); });
  with.vmm.read_line();
  with.vmm.say("{\"id\":2,\"error\":{\"class\":\"GenericError\",\"desc\":\"not now\"}}\n");
  const auto result = answer.get();
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::vmm_failed);
  CHECK(result.error().subject == "cont");
  CHECK(result.error().reason == "not now");
}

TEST_CASE("an answer that never comes ends at the deadline, and one that comes late is ignored", "[qmp]") {
  Conversation with;
  const auto result = with.session->call("stop", "", 50ms);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::deadline_exceeded);
  with.vmm.read_line();
  with.vmm.say("{\"return\":{},\"id\":2}\n");
  auto next = std::async(std::launch::async, [&] { return with.session->call("cont", "", 10s); });
  with.vmm.read_line();
  with.vmm.say("{\"return\":{},\"id\":3}\n");
  CHECK(next.get());
}

TEST_CASE("a VMM that hangs up, or babbles, fails what waits and what comes", "[qmp]") {
  for (const bool babbles : {false, true}) {
    Conversation with;
    auto answer = std::async(std::launch::async, [&] { return with.session->call("stop", "", 10s); });
    with.vmm.read_line();
    if (babbles)
      with.vmm.say("!\n");
    else
      with.vmm.hang_up();
    CHECK(answer.get().error().code == ErrorCode::guest_gone);
    CHECK(with.session->call("stop", "", 10s).error().code == ErrorCode::guest_gone);
  }
}

TEST_CASE("a VMM that answers nothing is not asked without end", "[qmp]") {
  Conversation with;
  std::atomic<int> refused = 0;
  for (std::size_t i = 0; i < 2 * QmpSession::most_outstanding; ++i)
    with.session->execute("stop", "", 10s, [&](const Result<std::string>& result) {
      if (result.error().code == ErrorCode::no_capacity) ++refused;
    });
  CHECK(refused >= static_cast<int>(QmpSession::most_outstanding));
}

TEST_CASE("a descriptor travels with its command", "[qmp]") {
  Conversation with;
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd reading(ends[0]);
  with.session->execute(
      "getfd", R"({"fdname":"m"})", 10s, [](const auto&) {}, UniqueFd(ends[1]));

  char text[256];
  iovec part{.iov_base = text, .iov_len = sizeof text};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const auto count = recvmsg(with.vmm.fd(), &message, MSG_CMSG_CLOEXEC);
  REQUIRE(count > 0);
  CHECK(std::string_view(text, static_cast<std::size_t>(count)).find("getfd") != std::string_view::npos);
  const auto* header = CMSG_FIRSTHDR(&message);
  REQUIRE(header != nullptr);
  int received = -1;
  std::copy_n(CMSG_DATA(header), sizeof received, reinterpret_cast<unsigned char*>(&received));
  const UniqueFd writing(received);
  CHECK(write(writing.get(), "x", 1) == 1);
  CHECK(read(reading.get(), text, 1) == 1);
}
