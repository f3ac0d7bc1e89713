#include <sys/socket.h>

#include <atomic>
#include <optional>
#include <string>

#include "edge_fixture.hpp"

namespace nanobox::test {
namespace {

using http::BodyReader;
using http::Method;
using http::RawConnection;
using http::Request;
using http::Responder;

// What a handler that takes its connection over sees.
struct Taken {
  std::mutex mutex;
  std::optional<RawConnection> raw;
  std::string bytes;
  bool hold = false;
  bool echoes = true;
  Signal asked;
  Signal got_end;
  Signal gone;
  Signal drained;
  std::optional<Result<void>> how;

  std::size_t received() {
    const std::lock_guard lock(mutex);
    return bytes.size();
  }

  void take(Responder out) {
    raw.emplace(out.upgrade("test", {{"X-More", "1"}}));
    raw->on_disconnect([this] { gone.set(); });
    raw->on_drain([this] { drained.set(); });
    raw->start(
        [this](std::string piece) {
          {
            const std::lock_guard lock(mutex);
            bytes += piece;
          }
          if (echoes) raw->write(piece);
          if (!hold) raw->consumed(piece.size());
        },
        [this](Result<void> result) {
          how = std::move(result);
          got_end.set();
        });
    asked.set();
  }
};

http::Router taking_routes(Taken& taken) {
  http::Router router;
  router.add(Method::get, "/raw", [&taken](Request in, Responder out) {
    if (in.upgrade != "test") return out.send(400);
    taken.take(std::move(out));
  });
  router.add_streaming(Method::post, "/raw",
                       [&taken](Request, BodyReader, Responder out) { taken.take(std::move(out)); });
  return router;
}

const std::string upgrade_head =
    "GET /raw HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: Test\r\n\r\n";

void expect_switch(Client& client) {
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 101);
  CHECK(answer->headers.at("upgrade") == "test");
  CHECK(answer->headers.at("connection") == "Upgrade");
  CHECK(answer->headers.at("x-more") == "1");
  CHECK_FALSE(answer->headers.contains("content-length"));
}

}  // namespace

TEST_CASE("a connection taken over carries bytes both ways, beginning behind the head", "[http][raw]") {
  Taken taken;
  Edge edge(taking_routes(taken));
  Client client(edge.port());
  client.send(upgrade_head + "GET / HTTP/1.1\r\n\r\n");
  expect_switch(client);
  CHECK(client.read_bytes(18, 2s) == "GET / HTTP/1.1\r\n\r\n");
  client.send("more");
  CHECK(client.read_bytes(4, 2s) == "more");
  CHECK(edge.server().counts().in_flight == 1);
}

TEST_CASE("each end of a connection taken over may end first", "[http][raw]") {
  for (const bool client_first : {true, false}) {
    Taken taken;
    Edge edge(taking_routes(taken));
    Client client(edge.port());
    client.send(upgrade_head);
    expect_switch(client);
    REQUIRE(taken.asked.wait());
    if (client_first) {
      client.send("last words");
      client.half_close();
      REQUIRE(taken.got_end.wait());
      CHECK(*taken.how);
      taken.raw->write("answer");
      taken.raw->end();
      CHECK(client.read_bytes(16, 2s) == "last wordsanswer");
      CHECK(client.closes());
    } else {
      taken.echoes = false;
      taken.raw->write(std::string(3'000'000, 'x'));
      taken.raw->end();
      CHECK(client.read_bytes(3'000'000, 5s).size() == 3'000'000);
      CHECK(client.closes());
      client.send(std::string(3'000'000, 'y'));
      client.half_close();
      REQUIRE(taken.got_end.wait());
      CHECK(*taken.how);
      CHECK(taken.received() == 3'000'000);
    }
    CHECK(taken.gone.wait());
    CHECK(edge.server().counts().in_flight == 0);
  }
}

TEST_CASE("what a client sent before it closed is read although both ends are closed", "[http][raw]") {
  Taken taken;
  taken.echoes = false;
  taken.hold = true;
  Edge edge(taking_routes(taken));
  Client client(edge.port());
  client.send(upgrade_head);
  expect_switch(client);
  REQUIRE(taken.asked.wait());
  taken.raw->end();
  CHECK(client.closes());
  constexpr std::size_t size = 1'000'000;
  client.send(std::string(size, 'x'));
  client.half_close();
  CHECK_FALSE(taken.got_end.wait(300ms));
  CHECK(taken.received() < BodyReader::credit + (128 << 10));
  taken.hold = false;
  taken.raw->consumed(taken.received());
  REQUIRE(taken.got_end.wait());
  CHECK(*taken.how);
  CHECK(taken.received() == size);
}

TEST_CASE("a client that leaves a connection taken over is told from a half-close", "[http][raw]") {
  Taken taken;
  Edge edge(taking_routes(taken), {.timeouts = {.probe = 100ms}});
  auto client = std::make_unique<Client>(edge.port());
  client->send(upgrade_head);
  expect_switch(*client);
  REQUIRE(taken.asked.wait());
  const linger hard{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(client->fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  client.reset();
  REQUIRE(taken.got_end.wait());
  CHECK_FALSE(*taken.how);
  CHECK(taken.gone.wait());
  CHECK_FALSE(taken.raw->connected());
}

TEST_CASE("a connection taken over that is dropped is cut, or closed after what was written", "[http][raw]") {
  for (const bool orderly : {false, true}) {
    Taken taken;
    taken.echoes = false;
    Edge edge(taking_routes(taken));
    Client client(edge.port());
    client.send(upgrade_head);
    expect_switch(client);
    REQUIRE(taken.asked.wait());
    if (orderly) {
      taken.raw->write(std::string(3'000'000, 'x'));
      taken.raw->end();
      taken.raw.reset();
      CHECK(client.read_bytes(3'000'000, 5s).size() == 3'000'000);
    } else {
      taken.raw.reset();
    }
    CHECK(client.closes());
    client.close();
    for (int i = 0; i < 100 && edge.server().counts().connections > 0; ++i) std::this_thread::sleep_for(20ms);
    CHECK(edge.server().counts().connections == 0);
    CHECK(edge.server().counts().in_flight == 0);
  }
}

TEST_CASE("a connection taken over has credit for writing as a stream has", "[http][raw]") {
  Taken taken;
  std::atomic<int> writable{0};
  Edge edge(taking_routes(taken));
  Client client(edge.port(), 4096);
  client.send(upgrade_head);
  expect_switch(client);
  REQUIRE(taken.asked.wait());
  taken.raw->on_writable([&] { ++writable; });
  const std::string piece(16 << 10, 'x');
  std::size_t written = 0;
  for (int before = -1; before != writable;) {  // until the sockets between are full, too
    before = writable;
    while (taken.raw->write(piece)) written += piece.size();
    written += piece.size();
    CHECK(taken.raw->outstanding() <= (272 << 10) + 512);
    std::this_thread::sleep_for(200ms);
  }
  const int before = writable;
  CHECK(client.read_bytes(written, 5s).size() == written);
  CHECK(writable == before + 1);
}

TEST_CASE("an upgrade of a request with an unread body is refused", "[http][raw]") {
  Taken taken;
  Edge edge(taking_routes(taken));
  Client client(edge.port());
  client.send(
      "POST /raw HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n");
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 400);
  CHECK(taken.gone.wait());
  CHECK(taken.got_end.wait());
}

TEST_CASE("a streaming route's request without a body may be taken over at once, and its body still ends",
          "[http][raw]") {
  Taken taken;
  Signal body_ended;
  std::optional<BodyReader> reader;
  http::Router router;
  router.add_streaming(Method::get, "/raw", [&](Request, BodyReader body, Responder out) {
    reader.emplace(std::move(body));
    taken.take(std::move(out));
    reader->start([](const std::string&) {},
                  [&](Result<void> how) {
                    if (how) body_ended.set();
                  });
  });
  Edge edge(std::move(router));
  Client client(edge.port());
  client.send(upgrade_head + "first");
  expect_switch(client);
  CHECK(client.read_bytes(5, 2s) == "first");
  CHECK(body_ended.wait());
}

TEST_CASE("an Upgrade that Connection does not name is none", "[http][raw]") {
  Taken taken;
  Edge edge(taking_routes(taken));
  Client client(edge.port());
  client.get("/raw", "Upgrade: test\r\n");
  CHECK(client.read()->status == 400);
}

TEST_CASE("a stop tells connections taken over, waits for them, and cuts them in the end", "[http][raw]") {
  for (const bool obeys : {true, false}) {
    Taken taken;
    Edge edge(taking_routes(taken));
    Client client(edge.port());
    client.send(upgrade_head);
    expect_switch(client);
    REQUIRE(taken.asked.wait());
    bool finished = false;
    std::thread stopping([&] { finished = edge.server().stop(obeys ? 10s : 200ms); });
    CHECK(taken.drained.wait());
    if (obeys) {
      client.send("still here");
      CHECK(client.read_bytes(10, 2s) == "still here");
      taken.raw->end();
      client.half_close();
    }
    stopping.join();
    CHECK(finished == obeys);
    CHECK(taken.gone.wait());
    CHECK(taken.how.has_value());
  }
}

}  // namespace nanobox::test
