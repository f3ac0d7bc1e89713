#include <catch2/catch.hpp>
#include <string>

#include "edge_fixture.hpp"
#include "http/proxy/forwarded_request.hpp"
#include "http/proxy/response_parser.hpp"

namespace nanobox::test {
namespace {

using http::Request;
using http::proxy::ResponseParser;

struct Form {
  bool to_head = false;
  bool may_upgrade = false;
  bool ends = true;
};

// Everything that is found in an answer, as text; the pieces have `step` bytes.
std::string parse(std::string_view bytes, std::size_t step, Form form = {}) {
  ResponseParser parser(form.to_head, form.may_upgrade);
  std::string seen;
  std::string body;
  for (std::size_t at = 0;; at += step) {
    const bool ended = at >= bytes.size();
    if (!ended) parser.append(bytes.substr(at, step));
    if (ended && form.ends) parser.end_of_input();
    for (bool more = true; more;) switch (parser.next()) {
        case ResponseParser::Event::need_more:
          more = false;
          break;
        case ResponseParser::Event::head:
          seen += std::to_string(parser.answer().status);
          for (const auto& [name, value] : parser.answer().headers) seen += " " + name + "=" + value;
          if (parser.answer().content_length) seen += " #" + std::to_string(*parser.answer().content_length);
          seen += ";";
          break;
        case ResponseParser::Event::body:
          body += parser.take_body();
          break;
        case ResponseParser::Event::complete:
          return seen + body + ";whole";
        case ResponseParser::Event::upgraded:
          seen += "101 " + parser.answer().upgrade + ";";
          body += parser.take_rest();
          if (at + step < bytes.size()) body += bytes.substr(at + step);
          return seen + body;
        case ResponseParser::Event::refused:
          return seen + body + ";" + std::string(to_string(parser.error().code));
      }
    if (ended) return seen + body + ";open";
  }
}

Request request_of(std::vector<std::pair<std::string, std::string>> headers) {
  Request request;
  request.headers = std::move(headers);
  request.peer_address = "192.0.2.7";
  return request;
}

}  // namespace

TEST_CASE("an answer is framed by length, chunks or its end, however it is cut", "[http][proxy]") {
  struct Case {
    std::string bytes;
    std::string expected;
    Form form = {};
  };
  const Case cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhellomore", "200 X-A=b #5;hello;whole"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: v\r\n\r\n",
       "200;hello!;whole"},
      {"HTTP/1.1 200 OK\r\n\r\nuntil the end", "200;until the end;whole"},
      {"HTTP/1.0 200 OK\r\n\r\nuntil the end", "200;until the end;whole"},
      {"HTTP/1.1 200 OK\r\n\r\nnot yet", "200;not yet;open", {.ends = false}},
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 #0;;whole"},
      {"HTTP/1.1 204 No Content\r\n\r\n", "204;;whole", {.ends = false}},
      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "304 #9;;whole", {.ends = false}},
      {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "200 #9;;whole", {.to_head = true, .ends = false}},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
       "1\r\n\r\nx",
       "200 #1;x;whole"},
      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nraw bytes",
       "101 websocket;raw bytes",
       {.may_upgrade = true}},
      {"HTTP/1.1 200 \r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nDate: d\r\nX-Request-Id: "
       "r\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
       "200 Set-Cookie=a Set-Cookie=b #0;;whole"},
  };
  for (const auto& [bytes, expected, form] : cases) {
    INFO(bytes);
    for (std::size_t step = 1; step <= bytes.size(); ++step) CHECK(parse(bytes, step, form) == expected);
  }
}

TEST_CASE("an answer that is cut off or malformed is refused", "[http][proxy]") {
  const std::pair<std::string, std::string> cases[] = {
      {"", ";guest_gone"},
      {"HTTP/1.1 200 OK\r\nX", ";guest_gone"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "200 #5;hel;guest_gone"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "200;hel;guest_gone"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", "200;hel;guest_gone"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "200;;guest_protocol"},
      {"SSH-2.0-OpenSSH_9.2\r\n", ";guest_protocol"},
      {"HTTP/2.0 200 OK\r\n\r\n", ";guest_protocol"},
      {"HTTP/1.1 099 No\r\n\r\n", ";guest_protocol"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", ";guest_protocol"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", ";guest_protocol"},
      {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", ";guest_protocol"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ";guest_protocol"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", ";guest_protocol"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", ";guest_protocol"},
      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", ";guest_protocol"},
      {"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", ";guest_protocol"},
  };
  for (const auto& [bytes, expected] : cases) {
    INFO(bytes);
    CHECK(parse(bytes, 1) == expected);
    CHECK(parse(bytes, bytes.size() + 1) == expected);
  }
}

TEST_CASE("a hostile service's head is bounded", "[http][proxy]") {
  const std::string line = "HTTP/1.1 200 OK\r\n";
  CHECK(parse(line + "X: " + std::string(70'000, 'x') + "\r\n\r\n", 1000) == ";guest_protocol");
  CHECK(parse(std::string(100'000, 'x'), 1000).ends_with("guest_protocol"));
  std::string many = line;
  for (int i = 0; i < 201; ++i) many += "A: b\r\n";
  CHECK(parse(many + "\r\n", 1000) == ";guest_protocol");
  std::string interims;
  for (int i = 0; i < 17; ++i) interims += "HTTP/1.1 100 Continue\r\n\r\n";
  CHECK(parse(interims, 1000) == ";guest_protocol");
  CHECK(parse(line + "Transfer-Encoding: chunked\r\n\r\n5;" + std::string(100'000, 'x'), 1000) ==
        "200;;guest_protocol");
}

TEST_CASE("a forwarded request keeps its Host and says who asked", "[http][proxy]") {
  auto request = request_of({{"host", "box.example:8080"}, {"accept", "*/*"}, {"expect", "100-continue"}});
  request.method = http::Method::put;
  request.query = "a=%20b";
  CHECK(http::proxy::forwarded_target(request, "x//y%2Fz") == "/x//y%2Fz?a=%20b");
  CHECK(http::proxy::write_forwarded_head(request, {.prefix = "/p/80", .target = "/x", .body_length = 5}) ==
        "PUT /x HTTP/1.1\r\nhost: box.example:8080\r\naccept: */*\r\nconnection: close\r\ncontent-length: 5\r\n"
        "x-forwarded-for: 192.0.2.7\r\nx-forwarded-host: box.example:8080\r\nx-forwarded-proto: http\r\n"
        "x-forwarded-prefix: /p/80\r\n\r\n");
}

TEST_CASE("a forwarded request passes on what proxies before said, and nothing of this hop", "[http][proxy]") {
  auto request = request_of({{"host", "inner"},
                             {"x-hop", "1"},
                             {"x-forwarded-for", "198.51.100.1"},
                             {"x-forwarded-host", "outer"},
                             {"x-forwarded-proto", "https"},
                             {"x-forwarded-prefix", "/box"}});
  request.connection_options = {"keep-alive", "x-hop", "host"};
  CHECK(http::proxy::write_forwarded_head(request, {.prefix = "/p/80", .target = "/", .body_length = {}}) ==
        "GET / HTTP/1.1\r\nhost: inner\r\nconnection: close\r\ntransfer-encoding: chunked\r\n"
        "x-forwarded-for: 198.51.100.1, 192.0.2.7\r\nx-forwarded-host: outer\r\nx-forwarded-proto: https\r\n"
        "x-forwarded-prefix: /box/p/80\r\n\r\n");
}

TEST_CASE("a forwarded upgrade asks for it", "[http][proxy]") {
  auto request = request_of({{"host", "h"}, {"sec-websocket-version", "13"}});
  request.upgrade = "websocket";
  request.connection_options = {"upgrade"};
  const auto head = http::proxy::write_forwarded_head(request, {.prefix = "/p", .target = "/", .body_length = 0});
  CHECK(head.find("connection: Upgrade\r\nupgrade: websocket\r\n") != std::string::npos);
  CHECK(head.find("sec-websocket-version: 13\r\n") != std::string::npos);
  CHECK(head.find("content-length") == std::string::npos);
}

TEST_CASE("a forwarded body is framed as its head says", "[http][proxy]") {
  CHECK(http::proxy::write_forwarded_body("hello", true) == "5\r\nhello\r\n");
  CHECK(http::proxy::write_forwarded_body("", true).empty());
  CHECK(http::proxy::write_forwarded_body("hello", false) == "hello");
  CHECK(http::proxy::forwarded_body_end(true) == "0\r\n\r\n");
  CHECK(http::proxy::forwarded_body_end(false).empty());
}

TEST_CASE("a service's answer goes out as it came", "[http][proxy]") {
  http::Router router;
  router.add(http::Method::get, "/through", [](Request, http::Responder out) {
    ResponseParser parser;
    parser.append("HTTP/1.1 404 Nope\r\nContent-Type: text/x\r\nContent-Length: 4\r\nDate: then\r\n\r\ngone");
    REQUIRE(parser.next() == ResponseParser::Event::head);
    auto stream = out.begin_stream(http::proxy::stream_head_of(parser.answer()));
    REQUIRE(parser.next() == ResponseParser::Event::body);
    stream.write(parser.take_body());
    stream.end();
  });
  Edge edge(std::move(router));
  Client client(edge.port());
  client.get("/through");
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 404);
  CHECK(answer->headers.at("content-type") == "text/x");
  CHECK(answer->headers.at("date") != "then");
  CHECK(answer->body == "gone");
}

}  // namespace nanobox::test
