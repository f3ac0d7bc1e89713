#include "edge_fixture.hpp"
#include "http/json/document.hpp"
#include "http/pagination.hpp"
#include "http/problem.hpp"
#include "http/sse.hpp"

namespace nanobox::test {
namespace {

using http::Method;
using http::Request;
using http::Responder;

rapidjson::Document json_of(const Answer& answer) {
  auto document = http::json::parse(answer.body);
  REQUIRE(document);
  return std::move(*document);
}

std::string text_at(const rapidjson::Value& value, const char* name) {
  REQUIRE(value.HasMember(name));
  return value[name].GetString();
}

http::Router small_routes() {
  http::Router router;
  router.add(Method::get, "/things/{id}", [](Request in, Responder out) {
    out.send(200, "{\"id\":\"" + std::string(in.param("id")) + "\",\"q\":\"" +
                      std::string(in.query_parameter("q").value_or("")) + "\"}");
  });
  router.add(Method::del, "/things/{id}", [](Request, Responder out) { out.send(204); });
  router.add(Method::get, "/things/special", [](Request, Responder out) { out.send(200, "\"special\""); });
  router.add(Method::get, "/things/{id}/files/{rest...}",
             [](Request in, Responder out) { out.send(200, "\"" + std::string(in.param("rest")) + "\""); });
  router.add(Method::post, "/things", [](Request, Responder out) {
    out.send_problem({.code = ErrorCode::no_capacity,
                      .attempted = "make thing",
                      .subject = "x",
                      .reason = "there is no room",
                      .mend = "wait",
                      .retry_after_sec = 7});
  });
  router.add(Method::get, "/throws", [](Request, Responder) { throw std::runtime_error("secret detail"); });
  router.add(Method::get, "/forgets", [](Request, Responder) {});
  router.add(Method::get, "/events", [](Request, Responder out) {
    auto stream = out.begin_stream(http::event_stream_type);
    stream.write(http::server_sent_event("stdout", "a\nb", "ev-1"));
    stream.end();
  });
  router.add(Method::get, "/cut", [](Request, Responder out) {
    auto stream = out.begin_stream("text/plain");
    stream.write("half");
  });
  router.add(Method::get, "/healthz", [](Request, Responder out) { out.send(200, "{}"); },
             {.needs_key = false, .while_draining = true});
  return router;
}

}  // namespace

TEST_CASE("paths and queries are decoded after they are taken apart", "[http]") {
  Edge edge(small_routes());
  Client client(edge.port());
  client.get("/things/a%2Fb%20c?q=x+y%26z&other");
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->headers.at("content-type") == "application/json");
  CHECK(answer->body == R"({"id":"a/b c","q":"x y&z"})");
  client.get("//things///a/");
  CHECK(client.read()->body == R"({"id":"a","q":""})");
  client.get("/things/special");
  CHECK(client.read()->body == "\"special\"");
  client.get("/things/a/files/b//c%20d");
  CHECK(client.read()->body == "\"b//c%20d\"");
  client.get("/things/%zz");
  CHECK(client.read()->status == 400);
  client.get("/things/%00");
  CHECK(client.read()->status == 400);
  client.get("/things/a?q=%2");
  CHECK(client.read()->status == 400);
}

TEST_CASE("unknown routes and methods are problems with their code", "[http]") {
  Edge edge(small_routes());
  Client client(edge.port());
  client.get("/nothing/here", "X-Request-Id: mine-1\r\n");
  auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 404);
  CHECK(answer->headers.at("content-type") == "application/problem+json");
  CHECK(answer->headers.at("x-request-id") == "mine-1");
  const auto problem = json_of(*answer);
  CHECK(text_at(problem, "type") == "about:blank");
  CHECK(text_at(problem, "title") == "Not Found");
  CHECK(problem["status"].GetInt() == 404);
  CHECK(text_at(problem, "code") == "route_not_found");
  CHECK(text_at(problem, "instance") == "/nothing/here");
  CHECK(text_at(problem, "request_id") == "mine-1");
  for (const std::string method : {"PUT", "BREW", "POST"}) {
    client.send(method + " /things/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    answer = client.read();
    REQUIRE(answer);
    CHECK(answer->status == 405);
    CHECK(answer->headers.at("allow") == "GET, HEAD, DELETE");
    CHECK(text_at(json_of(*answer), "code") == "method_not_allowed");
  }
  client.send("BREW /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(client.read()->status == 404);
}

TEST_CASE("HEAD is GET without its body", "[http]") {
  Edge edge(small_routes());
  Client client(edge.port());
  client.send("HEAD /things/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto answer = client.read(5s, true);
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->headers.at("content-length") == "17");
  client.get("/things/special");
  CHECK(client.read()->body == "\"special\"");
}

TEST_CASE("204 has neither a body nor a length", "[http]") {
  Edge edge(small_routes());
  Client client(edge.port());
  client.send("DELETE /things/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 204);
  CHECK_FALSE(answer->headers.contains("content-length"));
  CHECK_FALSE(answer->headers.contains("content-type"));
  CHECK(answer->headers.at("x-request-id").starts_with("rq-"));
}

TEST_CASE("an error becomes a problem with its detail, mend and Retry-After", "[http]") {
  Edge edge(small_routes());
  Client client(edge.port());
  client.post("/things", "{}");
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 503);
  CHECK(answer->headers.at("retry-after") == "7");
  const auto problem = json_of(*answer);
  CHECK(text_at(problem, "code") == "no_capacity");
  CHECK(text_at(problem, "detail").find("there is no room") != std::string::npos);
  CHECK(text_at(problem, "detail").find("wait") != std::string::npos);
}

TEST_CASE("handlers that throw or forget their request answer 500 without details", "[http]") {
  Edge edge(small_routes());
  Client client(edge.port());
  for (const char* path : {"/throws", "/forgets"}) {
    client.get(path);
    const auto answer = client.read();
    REQUIRE(answer);
    CHECK(answer->status == 500);
    CHECK(text_at(json_of(*answer), "code") == "internal");
    CHECK(answer->body.find("secret") == std::string::npos);
  }
}

TEST_CASE("server-sent events arrive as lines", "[http]") {
  Edge edge(small_routes());
  Client client(edge.port());
  client.get("/events", "Accept: text/event-stream\r\n");
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->whole);
  CHECK(answer->headers.at("content-type") == "text/event-stream");
  CHECK(answer->body == "id: ev-1\nevent: stdout\ndata: a\ndata: b\n\n");
}

TEST_CASE("a stream that was dropped is cut, so that it is not taken for whole", "[http]") {
  Edge edge(small_routes());
  Client client(edge.port());
  client.get("/cut");
  const auto answer = client.read();
  CHECK_FALSE((answer && answer->whole));
  CHECK(client.closes());
}

TEST_CASE("request ids of clients are kept only where they are harmless", "[http]") {
  Edge edge(small_routes());
  Client client(edge.port());
  client.get("/things/x", "X-Request-Id: " + std::string(200, 'a') + "\r\n");
  CHECK(client.read()->headers.at("x-request-id").starts_with("rq-"));
  client.get("/things/x", "X-Request-Id: a b\r\n");
  CHECK(client.read()->headers.at("x-request-id").starts_with("rq-"));
}

TEST_CASE("line breaks in an answer's headers cannot make another header", "[http]") {
  http::Router router;
  router.add(Method::get, "/x", [](Request, Responder out) { out.send(200, "1", {{"X-A", "b\r\nX-Evil: 1"}}); });
  Edge edge(std::move(router));
  Client client(edge.port());
  client.get("/x");
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK_FALSE(answer->headers.contains("x-evil"));
}

TEST_CASE("a stop lets what runs finish and refuses the rest", "[http]") {
  std::optional<Responder> kept;
  Signal asked;
  auto router = small_routes();
  router.add(Method::get, "/slow", [&](Request, Responder out) {
    kept.emplace(std::move(out));
    asked.set();
  });
  Edge edge(std::move(router));
  Client slow(edge.port());
  Client open(edge.port());
  Client spare(edge.port());
  for (Client* client : {&open, &spare}) {
    client->get("/things/special");
    REQUIRE(client->read());
  }
  slow.get("/slow");
  REQUIRE(asked.wait());
  bool finished = false;
  std::thread stopping([&] { finished = edge.server().stop(5s); });
  std::optional<Answer> refused;
  for (int i = 0; i < 100; ++i) {  // until the stop is seen
    open.get("/things/special");
    refused = open.read();
    if (!refused || refused->status == 503 || refused->headers.contains("connection")) break;
    std::this_thread::sleep_for(10ms);
  }
  if (refused && refused->status == 200) {  // begun just before the stop, answered just after
    spare.get("/things/special");
    refused = spare.read();
  }
  REQUIRE(refused);
  CHECK(refused->status == 503);
  CHECK(refused->headers.at("connection") == "close");
  CHECK(refused->headers.contains("retry-after"));
  CHECK(text_at(json_of(*refused), "code") == "shutting_down");
  Client late(edge.port());
  CHECK_FALSE(late.get("/healthz"));
  kept->send(200, "\"done\"");
  const auto answer = slow.read();
  REQUIRE(answer);
  CHECK(answer->body == "\"done\"");
  CHECK(answer->headers.at("connection") == "close");
  stopping.join();
  CHECK(finished);
  CHECK(edge.server().counts().connections == 0);
}

TEST_CASE("a stop does not wait longer than it was told, and tells who still works", "[http]") {
  std::optional<Responder> kept;
  Signal asked;
  Signal gone;
  http::Router router;
  router.add(Method::get, "/slow", [&](Request, Responder out) {
    kept.emplace(std::move(out));
    kept->on_disconnect([&] { gone.set(); });
    asked.set();
  });
  Edge edge(std::move(router));
  Client slow(edge.port());
  slow.get("/slow");
  REQUIRE(asked.wait());
  const auto before = std::chrono::steady_clock::now();
  CHECK_FALSE(edge.server().stop(200ms));
  CHECK(std::chrono::steady_clock::now() - before < 3s);
  CHECK(gone.wait());
}

TEST_CASE("a taken port names the address and the mend", "[http]") {
  Edge edge(small_routes());
  auto second = http::Server::start({.listen_addr = {"127.0.0.1", edge.port()}}, small_routes());
  REQUIRE_FALSE(second);
  CHECK(second.error().code == ErrorCode::io_failed);
  CHECK(second.error().subject == "127.0.0.1:" + std::to_string(edge.port()));
  CHECK_FALSE(second.error().mend.empty());
  auto nowhere = http::Server::start({.listen_addr = {"a..b", 1}}, small_routes());
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().code == ErrorCode::config_invalid);
}

TEST_CASE("too many large bodies at a time get 503, small requests go on", "[http]") {
  auto router = small_routes();
  router.add(Method::post, "/echo", [](Request in, Responder out) { out.send_bytes(200, "text/plain", in.body); });
  Edge edge(std::move(router), {.limits = {.bodies_bytes = 1 << 20}});
  Client first(edge.port());
  first.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc");
  std::this_thread::sleep_for(50ms);
  Client second(edge.port());
  second.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc");
  const auto answer = second.read();
  REQUIRE(answer);
  CHECK(answer->status == 503);
  Client third(edge.port());
  third.post("/echo", "abc");
  CHECK(third.read()->body == "abc");
  first.send(std::string(1000000 - 3, 'x'));
  CHECK(first.read()->status == 200);
}

TEST_CASE("pages have bounds and cursors come back as they went", "[http]") {
  Request request;
  CHECK(http::read_page(request)->limit == 100);
  for (const std::string wrong : {"0", "1001", "-1", "x", "", "1 ", "99999999999999999999"}) {
    request.query_parameters = {{"limit", wrong}};
    const auto page = http::read_page(request);
    REQUIRE_FALSE(page);
    CHECK(page.error().code == ErrorCode::invalid_value);
    CHECK(page.error().fields.front().pointer == "?limit");
  }
  for (const std::string key : {"sb-01jq", "a", "ab", "\xff\xfe?/+", ""}) {
    const auto cursor = http::make_cursor(key);
    CHECK(cursor.find_first_of("+/=&% ") == std::string::npos);
    request.query_parameters = {{"limit", "1000"}, {"cursor", cursor}};
    const auto page = http::read_page(request);
    REQUIRE(page);
    CHECK(page->limit == 1000);
    CHECK(page->after == key);
  }
  request.query_parameters = {{"cursor", "sb-01jq"}};
  CHECK_FALSE(http::read_page(request));
}

TEST_CASE("query parameters nobody knows are refused", "[http]") {
  Request request;
  request.query_parameters = {{"limit", "1"}, {"limt", "2"}};
  const auto checked = http::check_query(request, {"limit", "cursor"});
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == ErrorCode::unknown_field);
  CHECK(checked.error().fields.front().pointer == "?limt");
  request.query_parameters = {{"limit", "1"}, {"limit", "2"}};
  CHECK(http::check_query(request, {"limit"}).error().code == ErrorCode::invalid_value);
}

TEST_CASE("each way of failing has a status", "[http]") {
#define NANOBOX_X(name) CHECK(http::http_status(ErrorCode::name).code >= 400);
  NANOBOX_ERROR_CODES(NANOBOX_X)
#undef NANOBOX_X
  CHECK(http::http_status(ErrorCode::unknown_field).code == 400);
  CHECK(http::http_status(ErrorCode::invalid_value).code == 422);
  CHECK(http::http_status(ErrorCode::template_in_use).code == 409);
  CHECK(http::http_status(ErrorCode::deadline_exceeded).code == 504);
}

}  // namespace nanobox::test
