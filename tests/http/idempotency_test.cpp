#include "http/idempotency.hpp"

#include <atomic>

#include "edge_fixture.hpp"
#include "memory_rows.hpp"

namespace nanobox::test {
namespace {

using http::Method;
using http::Request;
using http::Responder;

constexpr const char* key_1 = "Idempotency-Key: k1\r\n";

struct Setup {
  std::shared_ptr<MemoryRows> rows = std::make_shared<MemoryRows>();
  http::Idempotency keys{rows};
  std::atomic<int> done{0};
};

}  // namespace

TEST_CASE("a repeated key gets the first answer again, another body does not", "[http][idempotency]") {
  Setup setup;
  http::Router router;
  router.add(Method::post, "/things", setup.keys.wrap([&](Request, Responder out) {
    out.send(201, "{\"n\":" + std::to_string(++setup.done) + "}");
  }));
  Edge edge(std::move(router));
  Client client(edge.port());
  for (int i = 0; i < 3; ++i) {
    client.post("/things", "{}", key_1);
    const auto answer = client.read();
    REQUIRE(answer);
    CHECK(answer->status == 201);
    CHECK(answer->body == "{\"n\":1}");
    CHECK(answer->headers.contains("idempotency-replayed") == (i > 0));
    CHECK(answer->headers.at("content-type") == "application/json");
  }
  client.post("/things", "{\"other\":1}", key_1);
  const auto other = client.read();
  REQUIRE(other);
  CHECK(other->status == 422);
  CHECK(other->body.find("idempotency_key_reused") != std::string::npos);
  client.post("/things", "{}");
  CHECK(client.read()->body == "{\"n\":2}");
  client.post("/things", "{}", "Idempotency-Key: k2\r\n");
  CHECK(client.read()->body == "{\"n\":3}");
}

TEST_CASE("a repeat while the first is at work waits for its answer", "[http][idempotency]") {
  Setup setup;
  std::optional<Responder> kept;
  Signal asked;
  http::Router router;
  router.add(Method::post, "/things", setup.keys.wrap([&](Request, Responder out) {
    ++setup.done;
    kept.emplace(std::move(out));
    asked.set();
  }));
  Edge edge(std::move(router));
  Client first(edge.port());
  Client second(edge.port());
  first.post("/things", "{}", key_1);
  REQUIRE(asked.wait());
  second.post("/things", "{}", key_1);
  CHECK_FALSE(second.read(200ms));
  kept->send(201, "\"made\"");
  CHECK(first.read()->body == "\"made\"");
  CHECK(second.read()->body == "\"made\"");
  CHECK(setup.done == 1);
}

TEST_CASE("what was refused may be tried again with the same key", "[http][idempotency]") {
  Setup setup;
  http::Router router;
  router.add(Method::post, "/things", setup.keys.wrap([&](Request, Responder out) {
    if (++setup.done == 1)
      out.send_problem({.code = ErrorCode::no_capacity, .attempted = "x", .subject = {}, .reason = "x", .mend = {}});
    else
      out.send(201, "1");
  }));
  Edge edge(std::move(router));
  Client client(edge.port());
  client.post("/things", "{}", key_1);
  CHECK(client.read()->status == 503);
  client.post("/things", "{}", key_1);
  CHECK(client.read()->status == 201);
}

TEST_CASE("answers too large to keep are said to be so", "[http][idempotency]") {
  Setup setup;
  http::Router router;
  router.add(
      Method::post, "/things",
      setup.keys.wrap([&](Request, Responder out) { out.send(200, std::string(100, '1')); }, {.max_answer_bytes = 99}));
  Edge edge(std::move(router));
  Client client(edge.port());
  client.post("/things", "{}", key_1);
  CHECK(client.read()->body.size() == 100);
  client.post("/things", "{}", key_1);
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 409);
  CHECK(answer->body.find("answer_not_kept") != std::string::npos);
}

TEST_CASE("keys on streams, empty keys and endless keys are 400", "[http][idempotency]") {
  Setup setup;
  http::Router router;
  router.add(Method::post, "/things", setup.keys.wrap([&](Request, Responder out) { out.send(200, "1"); }));
  Edge edge(std::move(router));
  Client client(edge.port());
  for (const std::string& headers :
       {std::string(key_1) + "Accept: text/event-stream\r\n", std::string("Idempotency-Key: \r\n"),
        "Idempotency-Key: " + std::string(300, 'k') + "\r\n"}) {
    client.post("/things", "{}", headers);
    const auto answer = client.read();
    REQUIRE(answer);
    CHECK(answer->status == 400);
    CHECK(answer->body.find("idempotency_key_unsupported") != std::string::npos);
  }
  CHECK(setup.rows->rows().empty());
}

TEST_CASE("a row is never left at work: forgotten requests and streams give it up", "[http][idempotency]") {
  Setup setup;
  http::Router router;
  router.add(Method::post, "/streams", setup.keys.wrap([&](Request, Responder out) {
    auto stream = out.begin_stream("text/plain");
    stream.end();
  }));
  Edge edge(std::move(router));
  Client client(edge.port());
  client.post("/streams", "{}", key_1);
  CHECK(client.read()->status == 200);
  for (int i = 0; i < 100 && !setup.rows->rows().empty(); ++i) std::this_thread::sleep_for(10ms);
  CHECK(setup.rows->rows().empty());
}

TEST_CASE("after a crash the handler learns what was being made", "[http][idempotency]") {
  Setup setup;
  std::string seen;
  http::Router router;
  router.add(Method::post, "/things", setup.keys.wrap([&](Request request, Responder out) {
    seen = request.param("interrupted_subject");
    out.send(200, "1");
  }));
  REQUIRE(setup.rows->start({"admin", "POST", "/things", "k1"},
                            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", {}, {}));
  REQUIRE(setup.rows->note_subject({"admin", "POST", "/things", "k1"}, "sb-1"));
  setup.rows->interrupt_all();
  Edge edge(std::move(router));
  Client client(edge.port());
  client.post("/things", "{}", key_1);
  CHECK(client.read()->status == 200);
  CHECK(seen == "sb-1");
}

}  // namespace nanobox::test
