#include <sys/socket.h>

#include "edge_fixture.hpp"
#include "http/transport/deadlines.hpp"
#include "http/transport/pistache_transport.hpp"
#include "http/transport/request_framer.hpp"
#include "promises.hpp"

namespace nanobox::test {
namespace {

using http::Method;
using http::Request;
using http::Responder;

http::Router promised_routes(std::vector<std::thread>& threads) {
  http::Router router;
  router.add(Method::get, "/hello", [](Request, Responder out) { out.send_bytes(200, "text/plain", "hello"); });
  router.add(Method::post, "/echo",
             [](Request in, Responder out) { out.send_bytes(200, "text/plain", std::move(in.body)); },
             {.max_body_bytes = 1 << 20});
  router.add(Method::get, "/big",
             [](Request, Responder out) { out.send_bytes(200, "text/plain", std::string(big_answer_bytes, 'b')); });
  router.add(Method::get, "/stream", [&threads](Request, Responder out) {
    threads.emplace_back([stream = out.begin_stream("text/plain")]() mutable {
      for (const char* word : {"one", "two", "three"}) stream.write(word);
      stream.end();
    });
  });
  return router;
}

struct Threads {
  std::vector<std::thread> all;
  ~Threads() {
    for (auto& thread : all) thread.join();
  }
};

}  // namespace

TEST_CASE("the edge keeps what stock Pistache breaks", "[http][transport]") {
  Threads threads;
  Edge edge(promised_routes(threads.all), {.threads = 1});
  for (const auto& promise : promises()) {
    INFO(promise.name);
    CHECK(promise.is_kept(edge.port()));
  }
}

TEST_CASE("the replaced functions of Pistache are in use", "[http][transport]") {
  CHECK(http::transport::transport_is_mended());
}

TEST_CASE("a stalled reader costs no processor time and gets its whole answer later", "[http][transport]") {
  Threads threads;
  Edge edge(promised_routes(threads.all), {.threads = 1});
  Client slow(edge.port(), 256 << 10);
  slow.get("/big");
  slow.read_bytes(1000, 2s);
  const auto before = std::clock();
  std::this_thread::sleep_for(500ms);
  CHECK(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC < 0.2);
  std::size_t more = 0;
  for (std::string bytes; more < big_answer_bytes - 2000; more += bytes.size()) {
    bytes = slow.read_bytes(1, 5s);
    if (bytes.empty()) break;
  }
  CHECK(more >= big_answer_bytes - 70'000);
}

TEST_CASE("a stream to a stalled reader ends its producer's credit and goes on when it reads", "[http][transport]") {
  Signal full;
  Signal writable;
  std::size_t held = 0;
  std::optional<http::Stream> stream;
  http::Router router;
  router.add(Method::get, "/flood", [&](Request, Responder out) {
    stream.emplace(out.begin_stream("application/octet-stream"));
    stream->on_writable([&] { writable.set(); });
    const std::string piece(16 << 10, 'x');
    for (int i = 0; i < 4096 && stream->write(piece); ++i) {
    }
    held = stream->outstanding();
    full.set();
  });
  Edge edge(std::move(router));
  Client client(edge.port(), 4096);
  client.get("/flood");
  REQUIRE(full.wait());
  CHECK(held >= (256U << 10));
  CHECK(held <= (272U << 10) + 512);
  client.read_bytes(200'000, 5s);
  CHECK(writable.wait());
  stream->end();
}

TEST_CASE("a producer that ignores its credit loses its client, not the server's memory", "[http][transport]") {
  Signal gone;
  Signal done;
  http::Router router;
  std::optional<http::Stream> stream;
  router.add(Method::get, "/flood", [&](Request, Responder out) {
    stream.emplace(out.begin_stream("application/octet-stream"));
    stream->on_disconnect([&] { gone.set(); });
    const std::string piece(64 << 10, 'x');
    for (int i = 0; i < 64; ++i) stream->write(piece);
    done.set();
  });
  Edge edge(std::move(router));
  Client client(edge.port(), 4096);
  client.get("/flood");
  REQUIRE(done.wait());
  CHECK(gone.wait());
  CHECK_FALSE(stream->connected());
}

TEST_CASE("a client that leaves is noticed by whoever still works for it", "[http][transport]") {
  Signal asked;
  Signal gone;
  std::optional<Responder> kept;
  http::Router router;
  router.add(Method::get, "/slow", [&](Request, Responder out) {
    kept.emplace(std::move(out));
    kept->on_disconnect([&] { gone.set(); });
    asked.set();
  });
  Edge edge(std::move(router), {.timeouts = {.probe = 100ms}});
  auto client = std::make_unique<Client>(edge.port());
  client->get("/slow");
  REQUIRE(asked.wait());
  client.reset();
  CHECK(gone.wait());
  CHECK_FALSE(kept->connected());
  kept->send(200, "{}");
}

TEST_CASE("a client that leaves a quiet event stream is noticed", "[http][transport]") {
  Signal asked;
  Signal gone;
  std::optional<http::Stream> stream;
  http::Router router;
  router.add(Method::get, "/events", [&](Request, Responder out) {
    stream.emplace(out.begin_stream("text/event-stream"));
    stream->on_disconnect([&] { gone.set(); });
    asked.set();
  });
  Edge edge(std::move(router), {.timeouts = {.probe = 100ms}});
  auto client = std::make_unique<Client>(edge.port());
  client->get("/events");
  REQUIRE(asked.wait());
  client.reset();
  CHECK(gone.wait());
}

TEST_CASE("a half-closed client that waits long is asked whether it is there, and then answered", "[http][transport]") {
  Signal asked;
  std::optional<Responder> kept;
  http::Router router;
  router.add(Method::get, "/slow", [&](Request, Responder out) {
    kept.emplace(std::move(out));
    asked.set();
  });
  Edge edge(std::move(router), {.timeouts = {.probe = 100ms}});
  Client client(edge.port());
  client.get("/slow");
  client.half_close();
  REQUIRE(asked.wait());
  const auto interim = client.read();
  REQUIRE(interim);
  CHECK(interim->status == 102);
  kept->send(200, "{}");
  std::optional<Answer> answer;
  while ((answer = client.read()) && answer->status == 102) {
  }
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(client.closes());
}

TEST_CASE("a vanished client's answer never reaches whoever has its descriptor next", "[http][transport]") {
  std::mutex mutex;
  std::vector<Responder> kept;
  http::Router router;
  router.add(Method::get, "/mine", [&](Request, Responder out) {
    const std::lock_guard lock(mutex);
    kept.push_back(std::move(out));
  });
  router.add(Method::get, "/hello", [](Request, Responder out) { out.send(200, "\"hello\""); });
  Edge edge(std::move(router), {.threads = 1, .timeouts = {.probe = 50ms}});
  for (int round = 0; round < 50; ++round) {
    {
      Client vanishing(edge.port());
      vanishing.get("/mine");
      const linger hard{.l_onoff = 1, .l_linger = 0};
      ::setsockopt(vanishing.fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    Client next(edge.port());
    {
      const std::lock_guard lock(mutex);
      for (auto& responder : kept) responder.send(200, "\"secret\"");
      kept.clear();
    }
    next.get("/hello");
    const auto answer = next.read();
    REQUIRE(answer);
    REQUIRE(answer->body == "\"hello\"");
  }
}

TEST_CASE("slow headers and slow bodies get 408, quiet connections are closed", "[http][transport]") {
  http::Router router;
  router.add(Method::post, "/echo", [](Request, Responder out) { out.send(200, "{}"); });
  Edge edge(std::move(router), {.timeouts = {.header = 200ms, .body_pause = 200ms, .idle = 400ms}});
  Client header(edge.port());
  header.send("POST /echo HTTP/1.1\r\nHost:");
  Client body(edge.port());
  body.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
  Client idle(edge.port());
  for (Client* client : {&header, &body}) {
    const auto answer = client->read();
    REQUIRE(answer);
    CHECK(answer->status == 408);
    CHECK(answer->headers.at("connection") == "close");
    CHECK(answer->body.find("\"request_timeout\"") != std::string::npos);
  }
  CHECK(idle.closes(3s));
}

TEST_CASE("a client that takes nothing is cut off after the stall limit", "[http][transport]") {
  Threads threads;
  Edge edge(promised_routes(threads.all), {.timeouts = {.write_stall = 300ms}});
  Client client(edge.port(), 4096);
  client.get("/big");
  client.read_bytes(1, 2s);
  for (int i = 0; i < 100 && edge.server().counts().connections > 0; ++i) std::this_thread::sleep_for(50ms);
  CHECK(edge.server().counts().connections == 0);
}

TEST_CASE("connections above the limit get 503 at once", "[http][transport]") {
  Threads threads;
  Edge edge(promised_routes(threads.all), {.limits = {.connections = 2}});
  Client one(edge.port());
  Client two(edge.port());
  one.get("/hello");
  two.get("/hello");
  REQUIRE(one.read());
  REQUIRE(two.read());
  Client three(edge.port());
  const auto answer = three.read();
  REQUIRE(answer);
  CHECK(answer->status == 503);
  CHECK(answer->headers.contains("retry-after"));
  CHECK(three.closes());
}

TEST_CASE("many requests pipelined behind a slow one are bounded and all answered", "[http][transport]") {
  std::optional<Responder> kept;
  Signal asked;
  http::Router router;
  router.add(Method::get, "/slow", [&](Request, Responder out) {
    kept.emplace(std::move(out));
    asked.set();
  });
  router.add(Method::get, "/hello", [](Request, Responder out) { out.send(200, "1"); });
  Edge edge(std::move(router));
  Client client(edge.port());
  client.get("/slow");
  REQUIRE(asked.wait());
  constexpr int count = 20'000;
  std::thread sender([&] {
    const std::string one = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
    std::string many;
    for (int i = 0; i < count; ++i) many += one;
    client.send(many);
  });
  kept->send(200, "0");
  int answers = 0;
  while (answers < count + 1 && client.read(10s)) ++answers;
  sender.join();
  CHECK(answers == count + 1);
}

TEST_CASE("the framer finds the same requests however the bytes are cut", "[http][transport]") {
  const std::string bytes =
      "\r\nPOST /a%20b?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
      "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\nX-A: b\r\n\r\n3;ext=1\r\nxyz\r\n1\r\n!\r\n0\r\nT: "
      "v\r\n\r\n"
      "GET http://h/d HTTP/1.1\r\nHost: h\r\n\r\n";
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    http::transport::RequestFramer framer(65536);
    std::string seen;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      framer.append(std::string_view(bytes).substr(at, step));
      for (bool more = true; more;) switch (framer.next()) {
          case http::transport::RequestFramer::Event::need_more:
            more = false;
            break;
          case http::transport::RequestFramer::Event::head:
            seen += framer.head().method + " " + framer.head().path + "?" + framer.head().query + " ";
            framer.accept_body(100);
            break;
          case http::transport::RequestFramer::Event::complete:
            seen += framer.take_body() + ";";
            framer.restart();
            break;
          case http::transport::RequestFramer::Event::refused:
            FAIL(framer.error().reason);
        }
    }
    CHECK(seen == "POST /a%20b?x=1 abc;POST /c? xyz!;GET /d? ;");
  }
}

TEST_CASE("what two readers might frame differently is refused", "[http][transport]") {
  for (const std::string request : {
           "GET / HTTP/1.1\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
           "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
           "GET / HTTP/1.2\r\nHost: h\r\n\r\n",
           "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
           "GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n",
           "GET x HTTP/1.1\r\nHost: h\r\n\r\n",
           "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nabcde",
           "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\nabcde",
           "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
           "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
       }) {
    INFO(request);
    http::transport::RequestFramer framer(65536);
    framer.append(request);
    auto event = framer.next();
    if (event == http::transport::RequestFramer::Event::head) {
      framer.accept_body(100);
      event = framer.next();
    }
    REQUIRE(event == http::transport::RequestFramer::Event::refused);
    CHECK(framer.error().code == ErrorCode::malformed_request);
  }
}

TEST_CASE("header blocks that grow byte by byte are read in linear time", "[http][transport]") {
  http::transport::RequestFramer framer(65536);
  framer.append("GET / HTTP/1.1\r\nHost: h\r\nX: ");
  const auto before = std::chrono::steady_clock::now();
  for (int i = 0; i < 65'000; ++i) {
    framer.append("x");
    if (framer.next() != http::transport::RequestFramer::Event::need_more) break;
  }
  CHECK(std::chrono::steady_clock::now() - before < 2s);
}

TEST_CASE("deadlines follow what a connection waits for", "[http][transport]") {
  using http::transport::Deadlines;
  const http::ServerTimeouts timeouts{.header = 10s, .body_pause = 5s, .body_total = 60s, .idle = 100s};
  const http::transport::Instant start{};
  Deadlines deadlines(timeouts, start);
  CHECK(deadlines.at(start + 99s) == Deadlines::Verdict::wait);
  CHECK(deadlines.at(start + 101s) == Deadlines::Verdict::idle);
  deadlines.header_bytes(start + 50s);
  deadlines.header_bytes(start + 59s);  // more bytes win no more time
  CHECK(deadlines.at(start + 61s) == Deadlines::Verdict::slow_header);
  deadlines.body_bytes(start + 60s);
  deadlines.body_bytes(start + 64s);
  CHECK(deadlines.at(start + 68s) == Deadlines::Verdict::wait);
  CHECK(deadlines.at(start + 70s) == Deadlines::Verdict::slow_body);
  deadlines.answering(start + 70s);
  CHECK(deadlines.at(start + 100'000s) == Deadlines::Verdict::wait);
}

}  // namespace nanobox::test
