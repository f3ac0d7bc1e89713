#include <sys/socket.h>

#include <atomic>
#include <optional>
#include <string>

#include "edge_fixture.hpp"

namespace nanobox::test {
namespace {

using http::BodyReader;
using http::Method;
using http::Request;
using http::Responder;

// What a streaming handler sees; `hold` keeps the credit back.
struct Upload {
  std::mutex mutex;
  std::optional<BodyReader> body;
  std::optional<Responder> responder;
  std::string bytes;
  std::atomic<std::size_t> received{0};
  std::optional<Result<void>> how;
  Signal asked;
  Signal ended;
  bool hold = false;
  bool answers_at_end = true;

  void start() {
    body->start(
        [this](std::string piece) {
          {
            const std::lock_guard lock(mutex);
            bytes += piece;
            received += piece.size();
          }
          if (!hold) body->consumed(piece.size());
        },
        [this](Result<void> result) {
          if (answers_at_end && result) responder->send(200, std::to_string(received));
          if (answers_at_end && !result) responder->send_problem(result.error());
          {
            const std::lock_guard lock(mutex);
            how = std::move(result);
          }
          ended.set();
        });
  }
};

http::Router upload_routes(Upload& upload, bool starts = true,
                           http::RouteOptions options = {.max_body_bytes = http::unlimited}) {
  http::Router router;
  router.add_streaming(
      Method::put, "/up",
      [&upload, starts](Request, BodyReader body, Responder out) {
        upload.body.emplace(std::move(body));
        upload.responder.emplace(std::move(out));
        if (starts) upload.start();
        upload.asked.set();
      },
      options);
  router.add(Method::get, "/hello", [](Request, Responder out) { out.send(200, "\"hello\""); });
  return router;
}

std::string put_head(std::string_view more) {
  return "PUT /up HTTP/1.1\r\nHost: localhost\r\n" + std::string(more) + "\r\n";
}

const std::string hello = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";

// As many bytes as the sockets between take without the server reading on.
std::size_t send_until_stuck(Client& client, std::size_t most) {
  const std::string piece(64 << 10, 'x');
  std::size_t sent = 0;
  while (sent < most) {
    const auto count = ::send(client.fd(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) {
      sent += static_cast<std::size_t>(count);
      continue;
    }
    std::this_thread::sleep_for(200ms);
    const auto again = ::send(client.fd(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (again <= 0) break;
    sent += static_cast<std::size_t>(again);
  }
  return sent;
}

}  // namespace

TEST_CASE("a streamed body reaches its handler whole, and the next request follows", "[http][streams]") {
  Upload upload;
  Edge edge(upload_routes(upload));
  Client client(edge.port());
  client.send(put_head("Content-Length: 10\r\n") + "01234");
  REQUIRE(upload.asked.wait());
  CHECK(upload.body->length() == 10);
  client.send("56789" + hello + hello);
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->body == "10");
  CHECK(upload.bytes == "0123456789");
  CHECK(client.read()->body == "\"hello\"");
  CHECK(client.read()->body == "\"hello\"");
}

TEST_CASE("a chunked streamed body may be cut anywhere", "[http][streams]") {
  Upload upload;
  Edge edge(upload_routes(upload));
  Client client(edge.port());
  const auto request =
      put_head("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: v\r\n\r\n" + hello;
  for (const char& c : request) client.send({&c, 1});
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->body == "11");
  CHECK_FALSE(upload.body->length());
  CHECK(upload.bytes == "hello world");
  CHECK(client.read()->body == "\"hello\"");
}

TEST_CASE("a request without a body ends at once in a streaming route", "[http][streams]") {
  Upload upload;
  Edge edge(upload_routes(upload));
  Client client(edge.port());
  client.send(put_head("") + hello);
  CHECK(client.read()->body == "0");
  CHECK(upload.body->length() == 0);
  CHECK(client.read()->body == "\"hello\"");
}

TEST_CASE("a slow reader of a body holds its client back and loses nothing", "[http][streams]") {
  Upload upload;
  upload.hold = true;
  Edge edge(upload_routes(upload));
  Client client(edge.port());
  constexpr std::size_t size = 64 << 20;
  client.send(put_head("Content-Length: " + std::to_string(size) + "\r\n"));
  REQUIRE(upload.asked.wait());
  const auto sent = send_until_stuck(client, size);
  CHECK(sent < size / 2);
  CHECK(upload.received >= BodyReader::credit);
  CHECK(upload.received < BodyReader::credit + (128 << 10));
  upload.hold = false;
  upload.body->consumed(upload.received);
  client.send(std::string(size - sent, 'x') + hello);
  CHECK(client.read(20s)->body == std::to_string(size));
  CHECK(client.read()->body == "\"hello\"");
}

TEST_CASE("a gigabyte may be announced without being held", "[http][streams]") {
  Upload upload;
  Edge edge(upload_routes(upload), {.limits = {.bodies_bytes = 1 << 20}});
  Client client(edge.port());
  client.send(put_head("Content-Length: 1000000000000000\r\n") + "abc");
  REQUIRE(upload.asked.wait());
  client.close();
  REQUIRE(upload.ended.wait());
  CHECK(upload.bytes == "abc");
}

TEST_CASE("a body that is cut in the middle is told apart from one that ended", "[http][streams]") {
  for (const bool half : {false, true}) {
    Upload upload;
    Edge edge(upload_routes(upload));
    Client client(edge.port());
    client.send(put_head("Content-Length: 10\r\n") + "01234");
    REQUIRE(upload.asked.wait());
    if (half)
      client.half_close();
    else
      client.close();
    REQUIRE(upload.ended.wait());
    REQUIRE_FALSE(*upload.how);
    CHECK(upload.how->error().code == ErrorCode::cancelled);
    if (!half) continue;
    const auto answer = client.read();
    REQUIRE(answer);
    CHECK(answer->status == 409);
    CHECK(client.closes());
  }
}

TEST_CASE("a chunk that is none ends a streamed body with an error that can be answered", "[http][streams]") {
  Upload upload;
  Edge edge(upload_routes(upload));
  Client client(edge.port());
  client.send(put_head("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\nzz\r\n");
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 400);
  CHECK(answer->headers.at("connection") == "close");
  CHECK(client.closes());
}

TEST_CASE("a streaming route may limit its body", "[http][streams]") {
  Upload upload;
  Edge edge(upload_routes(upload, true, {.max_body_bytes = 8}));
  Client chunked(edge.port());
  chunked.send(put_head("Transfer-Encoding: chunked\r\n") + "9\r\n012345678\r\n0\r\n\r\n");
  auto answer = chunked.read();
  REQUIRE(answer);
  CHECK(answer->status == 413);
  Client announced(edge.port());
  announced.send(put_head("Content-Length: 9\r\n") + "012345678" + hello);
  answer = announced.read();
  REQUIRE(answer);
  CHECK(answer->status == 413);
  CHECK(announced.read()->body == "\"hello\"");
}

TEST_CASE("100 Continue is sent when the handler starts to read, not before", "[http][streams]") {
  Upload upload;
  Edge edge(upload_routes(upload, false));
  Client client(edge.port());
  client.send(put_head("Expect: 100-continue\r\nContent-Length: 5\r\n"));
  REQUIRE(upload.asked.wait());
  CHECK_FALSE(client.read(100ms));
  upload.start();
  const auto interim = client.read();
  REQUIRE(interim);
  CHECK(interim->status == 100);
  client.send("hello" + hello);
  CHECK(client.read()->body == "5");
  CHECK(client.read()->body == "\"hello\"");
}

TEST_CASE("a refusal instead of 100 Continue closes the connection: a body may follow or not", "[http][streams]") {
  Upload upload;
  Edge edge(upload_routes(upload, false));
  Client client(edge.port());
  client.send(put_head("Expect: 100-continue\r\nContent-Length: 5\r\n"));
  REQUIRE(upload.asked.wait());
  upload.responder->send(404);
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 404);
  CHECK(answer->headers.at("connection") == "close");
  CHECK(client.closes());
}

TEST_CASE("an early answer keeps the connection where little of the body is left", "[http][streams]") {
  Upload upload;
  upload.answers_at_end = false;
  Edge edge(upload_routes(upload));
  Client client(edge.port());
  client.send(put_head("Content-Length: 1000\r\n") + "abc");
  REQUIRE(upload.asked.wait());
  upload.responder->send(422, "\"no\"");
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 422);
  CHECK_FALSE(answer->headers.contains("connection"));
  REQUIRE(upload.ended.wait());
  CHECK_FALSE(*upload.how);
  client.send(std::string(997, 'x') + hello);
  CHECK(client.read()->body == "\"hello\"");
}

TEST_CASE("an early answer reaches a client that writes all of a large body first", "[http][streams]") {
  http::Router router;
  router.add_streaming(Method::put, "/up", [](Request, BodyReader, Responder out) { out.send(404, "\"none\""); });
  Edge edge(std::move(router));
  Client client(edge.port());
  constexpr std::size_t size = 32 << 20;
  client.send(put_head("Content-Length: " + std::to_string(size) + "\r\n"));
  CHECK(client.send(std::string(size, 'x')));
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 404);
  CHECK(answer->headers.at("connection") == "close");
  CHECK(client.closes());
}

TEST_CASE("a handler that forgets its request and body answers 500", "[http][streams]") {
  http::Router router;
  router.add_streaming(Method::put, "/up", [](Request, BodyReader, Responder) {});
  router.add_streaming(Method::put, "/throws", [](Request, BodyReader, Responder) { throw std::runtime_error("x"); });
  Edge edge(std::move(router));
  Client client(edge.port());
  client.send(put_head("Content-Length: 3\r\n") + "abc");
  CHECK(client.read()->status == 500);
  client.send("PUT /throws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc");
  CHECK(client.read()->status == 500);
}

TEST_CASE("pauses in a streamed body have a limit, unless its route has none", "[http][streams]") {
  for (const bool may_pause : {false, true}) {
    Upload upload;
    Edge edge(upload_routes(upload, true, {.max_body_bytes = http::unlimited, .body_may_pause = may_pause}),
              {.timeouts = {.body_pause = 200ms}});
    Client client(edge.port());
    client.send(put_head("Content-Length: 10\r\n") + "01234");
    if (may_pause) {
      CHECK_FALSE(client.read(800ms));
      client.send("56789");
      CHECK(client.read()->body == "10");
    } else {
      CHECK(client.read()->status == 408);
      CHECK(client.closes());
      CHECK(upload.how->error().code == ErrorCode::request_timeout);
    }
  }
}

TEST_CASE("a pause of the reader's own is not the client's", "[http][streams]") {
  Upload upload;
  upload.hold = true;
  Edge edge(upload_routes(upload), {.timeouts = {.body_pause = 200ms}});
  Client client(edge.port());
  client.send(put_head("Content-Length: 400000\r\n") + std::string(399'999, 'x'));
  REQUIRE(upload.asked.wait());
  CHECK_FALSE(client.read(800ms));
  upload.hold = false;
  upload.body->consumed(upload.received);
  client.send("x");
  CHECK(client.read()->body == "400000");
}

TEST_CASE("an answer may stream while its request's body still arrives", "[http][streams]") {
  http::Router router;
  router.add_streaming(Method::post, "/echo", [](Request, BodyReader body, Responder out) {
    struct Echo {
      BodyReader body;
      http::Stream stream;
    };
    auto echo = std::make_shared<Echo>(Echo{std::move(body), out.begin_stream("application/octet-stream")});
    echo->body.start(
        [echo](std::string piece) {
          echo->stream.write(piece);
          echo->body.consumed(piece.size());
        },
        [echo](Result<void> how) {
          if (how) echo->stream.end();
        });
  });
  Edge edge(std::move(router));
  Client client(edge.port());
  client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
  CHECK(client.read_bytes(200, 500ms).find("3\r\none\r\n") != std::string::npos);
  client.send("3\r\ntwo\r\n0\r\n\r\n");
  CHECK(client.read_bytes(13, 2s) == "3\r\ntwo\r\n0\r\n\r\n");
}

TEST_CASE("an Idempotency-Key on a streamed POST is refused", "[http][streams]") {
  http::Router router;
  router.add_streaming(Method::post, "/in", [](Request, BodyReader, Responder out) { out.send(204); });
  router.add_streaming(Method::post, "/through",
                       [](Request in, BodyReader, Responder out) {
                         out.send(200, "\"" + std::string(in.header("idempotency-key").value_or("")) + "\"");
                       },
                       {.max_body_bytes = http::unlimited, .forwards = true});
  Edge edge(std::move(router));
  Client client(edge.port());
  client.post("/in", "", "Idempotency-Key: a\r\n");
  CHECK(client.read()->status == 400);
  client.post("/through", "", "Idempotency-Key: a\r\n");
  CHECK(client.read()->body == "\"a\"");
}

TEST_CASE("a streamed answer has the status, headers and length it was given", "[http][streams]") {
  http::Router router;
  router.add(Method::get, "/file", [](Request, Responder out) {
    auto stream = out.begin_stream(
        {.status = 206, .content_type = "text/plain", .headers = {{"X-Mode", "0644"}}, .content_length = 6});
    stream.write("abc");
    stream.write("def");
    stream.end();
  });
  router.add(Method::get, "/empty", [](Request, Responder out) { out.begin_stream({.status = 204}).end(); });
  Edge edge(std::move(router));
  Client client(edge.port());
  client.get("/file");
  auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 206);
  CHECK(answer->headers.at("x-mode") == "0644");
  CHECK(answer->headers.at("content-length") == "6");
  CHECK_FALSE(answer->headers.contains("transfer-encoding"));
  CHECK(answer->body == "abcdef");
  client.send("HEAD /file HTTP/1.1\r\nHost: localhost\r\n\r\n");
  answer = client.read(5s, true);
  REQUIRE(answer);
  CHECK(answer->status == 206);
  CHECK(answer->headers.at("content-length") == "6");
  client.get("/empty");
  answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 204);
  CHECK_FALSE(answer->headers.contains("content-length"));
  client.send("GET /file HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  answer = client.read();
  REQUIRE(answer);
  CHECK(answer->body == "abcdef");
  CHECK(answer->headers.at("connection") == "keep-alive");
}

TEST_CASE("writing more or less than was announced cuts the connection", "[http][streams]") {
  for (const std::string written : {"abc", "abcdefg"}) {
    http::Router router;
    router.add(Method::get, "/file", [&](Request, Responder out) {
      auto stream = out.begin_stream({.content_length = 6});
      stream.write(written);
      stream.end();
    });
    Edge edge(std::move(router));
    Client client(edge.port());
    client.get("/file");
    const auto answer = client.read();
    CHECK_FALSE((answer && answer->whole));
    CHECK(client.closes());
  }
}

}  // namespace nanobox::test
