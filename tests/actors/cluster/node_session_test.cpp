#include "tests/actors/cluster/cluster_fixture.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

class SessionFixture : public nanobox::test::ClusterFixture {
protected:
  SessionFixture() {
    node = join("n1");
    connect(node);
    warm_up(node);
    have(node, "sb-1");
  }

  /// What a stream's user was told.
  struct User {
    std::vector<ErrorCode> failures;
    bool is_open = false;
  };
  std::shared_ptr<User> open_stream() {
    auto user = std::make_shared<User>();
    auto sink = start(stream_user, user);
    start([this, sink, user](caf::event_based_actor* self) {
      self->request(guests, 60s, open_atom_v, std::string("sb-1"), StreamRequest(TcpRequest{1}), sink)
          .then([user](const GuestStream&) { user->is_open = true; },
                [user](caf::error& error) { user->failures.push_back(from_caf(error, "open").code); });
    });
    settle();
    return user;
  }

  static StreamSink::behavior_type stream_user(std::shared_ptr<User> user) {
    return {[](opened_atom, const Opened&) {},
            [](bytes_atom, const StreamData&) {},
            [](gap_atom, const OutputGap&) {},
            [](window_atom, const StdinWindow&) {},
            [](exit_atom, const StreamExit&) {},
            [user](failed_atom, const Error& error) { user->failures.push_back(error.code); }};
  }

  nanobox::test::SharedNode node;
};

const std::vector<ErrorCode> kLost{ErrorCode::node_lost};

}  // namespace

TEST_CASE_METHOD(SessionFixture, "whoever opens a stream is told when its node dies meanwhile", "[cluster]") {
  const auto user = open_stream();
  REQUIRE(node->count("open sb-1") == 1);

  die(node);

  CHECK(user->failures == kLost);
}

TEST_CASE_METHOD(SessionFixture, "whoever asks is told when the node connects anew, of which CAF says nothing",
                 "[cluster]") {
  const auto user = open_stream();
  const auto paused = ask<Sandbox>(sandboxes, pause_atom_v, std::string("sb-1"));
  const auto former = node->face;

  connect(node, {sandbox_of("sb-1")}, {template_of("busybox", "version 1")});

  CHECK(user->failures == kLost);
  CHECK(code_of(paused) == ErrorCode::node_lost);
  CHECK(status_of("sb-1") == "running");
}

TEST_CASE_METHOD(SessionFixture, "whoever asks is told when the node falls silent", "[cluster]") {
  const auto user = open_stream();
  const auto paused = ask<Sandbox>(sandboxes, pause_atom_v, std::string("sb-1"));

  for (int second = 0; second < 7; ++second) let_pass(1s);

  CHECK(user->failures == kLost);
  CHECK(code_of(paused) == ErrorCode::node_lost);
  CHECK(state_of("n1") == "lost");
  CHECK(status_of("sb-1") == "lost");
}

TEST_CASE_METHOD(SessionFixture, "whoever asks is told when the session is killed", "[cluster]") {
  const auto user = open_stream();
  const auto paused = ask<Sandbox>(sandboxes, pause_atom_v, std::string("sb-1"));

  caf::anon_send_exit(node->inbox, caf::exit_reason::kill);
  settle();

  CHECK(user->failures == kLost);
  CHECK(code_of(paused) == ErrorCode::node_lost);
  CHECK(state_of("n1") == "lost");
}

TEST_CASE_METHOD(SessionFixture, "nodes come in again after their registry died", "[cluster]") {
  const auto paused = ask<Sandbox>(sandboxes, pause_atom_v, std::string("sb-1"));

  kill("node_registry");

  CHECK(state_of("n1") == "lost");
  CHECK(status_of("sb-1") == "lost");
  CHECK(code_of(paused) == ErrorCode::node_lost);
  connect(node, {sandbox_of("sb-1")}, {template_of("busybox", "version 1")});
  CHECK(state_of("n1") == "ready");
  CHECK(status_of("sb-1") == "running");
}

TEST_CASE_METHOD(SessionFixture, "a node of another protocol version is refused with both versions named",
                 "[cluster]") {
  auto hello = hello_of("n1");
  hello.protocol = kClusterProtocol + 1;
  hello.version = "9.9";

  const auto admitted = ask<Admission>(nodes, hello_atom_v, hello, node->face);

  CHECK(code_of(admitted) == ErrorCode::version_incompatible);
  const auto said = describe((*admitted)->error());
  CHECK_THAT(said, Catch::Contains("9.9") && Catch::Contains("1.0"));
  CHECK(state_of("n1") == "ready");
}
