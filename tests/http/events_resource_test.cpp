#include "config/id.hpp"
#include "resources_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

NewEvent event(std::string type, std::string subject, std::string owner = "ann", std::string data = "{}") {
  return {.type = std::move(type),
          .subject = std::move(subject),
          .node_id = "n1",
          .owner = std::move(owner),
          .data = std::move(data)};
}

constexpr const char* kAnn = "Authorization: Bearer bbbb\r\n";
constexpr const char* kAdmin = "Authorization: Bearer aaaa\r\n";

std::string all_of(const Resources& resources, const std::string& query, const std::string& headers = kAdmin) {
  Client client(resources.port());
  client.get("/api/v1/events?follow=0" + query, headers);
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->headers.at("content-type") == "text/event-stream");
  CHECK(answer->whole);
  return answer->body;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// What comes until `part` is there.
std::string read_until(Client& client, const std::string& part) {
  std::string text;
  const auto end = std::chrono::steady_clock::now() + 10s;
  while (!has(text, part)) {
    REQUIRE(std::chrono::steady_clock::now() < end);
    const auto more = client.read_bytes(1, 100ms);
    text += more;
  }
  return text;
}

}  // namespace

TEST_CASE_METHOD(Resources, "what is kept comes as events with ids, which can be gone on from", "[events]") {
  const auto first = events->add(event("sandbox.creating", "sb-1"));
  const auto second = events->add(event("sandbox.running", "sb-1"));
  const auto text = all_of(*this, "");
  CHECK(has(text, "id: " + first->id + "\nevent: sandbox.creating\ndata: " + to_json(*first) + "\n\n"));
  CHECK(has(text, "id: " + second->id + "\n"));
  for (const auto& [query, headers] : {std::pair("&since=" + first->id, std::string(kAdmin)),
                                       std::pair(std::string(), kAdmin + ("Last-Event-ID: " + first->id + "\r\n"))}) {
    const auto rest = all_of(*this, query, headers);
    CHECK_FALSE(has(rest, first->id));
    CHECK(has(rest, second->id));
    CHECK_FALSE(has(rest, "events.missed"));
  }
}

TEST_CASE_METHOD(Resources, "an owner sees its own events, the administrator all", "[events]") {
  events->add(event("sandbox.running", "sb-ann"));
  events->add(event("sandbox.running", "sb-bob", "bob"));
  events->add(event("node.lost", "n1", ""));
  const auto mine = all_of(*this, "", kAnn);
  CHECK((has(mine, "sb-ann") && !has(mine, "sb-bob") && !has(mine, "node.lost")));
  const auto every = all_of(*this, "");
  CHECK((has(every, "sb-ann") && has(every, "sb-bob") && has(every, "node.lost")));
  CHECK(all_of(*this, "&type=node.&subject=n1").find("event: ") != std::string::npos);
  CHECK_FALSE(has(all_of(*this, "&type=node.ready,sandbox.&node_id=n2"), "event: "));
}

TEST_CASE_METHOD(Resources, "whoever comes back too late is told so first", "[events]") {
  const auto first = events->add(event("sandbox.running", "sb-0"));
  for (std::size_t i = 0; i <= kEventsKept; ++i) events->add(event("sandbox.running", "sb-1"));
  const auto text = all_of(*this, "&since=" + first->id);
  const auto missed = text.find("event: events.missed\ndata: {\"oldest\":\"" + events->oldest() + "\"}\n\n");
  REQUIRE(missed != std::string::npos);
  CHECK(missed < text.find("event: sandbox.running"));
}

TEST_CASE_METHOD(Resources, "a list goes page by page", "[events]") {
  for (int i = 0; i < 3; ++i) events->add(event("sandbox.running", "sb-" + std::to_string(i)));
  Client client(port());
  const auto page = [&](const std::string& query) {
    client.get("/api/v1/events?limit=2" + query, std::string(kAdmin) + "Accept: application/json\r\n");
    auto answer = client.read();
    REQUIRE(answer);
    CHECK(answer->status == 200);
    return Json{.status = 200, .body = http::json::parse(answer->body).value(), .text = answer->body};
  };
  const auto first = page("");
  CHECK(first.size_of("/items") == 2);
  CHECK(first.at("/items/1/subject") == "sb-1");
  const auto rest = page("&cursor=" + first.at("/next_cursor"));
  CHECK(rest.size_of("/items") == 1);
  CHECK(rest.at("/items/0/subject") == "sb-2");
  CHECK(rest.at("/next_cursor") == "null");
}

TEST_CASE_METHOD(Resources, "what is asked for wrongly is refused by name", "[events]") {
  for (const auto* query : {"type=sandbox", "since=ev-1", "follow=2", "kind=x"}) {
    const auto answer = get(std::string("/events?") + query);
    CHECK(answer.status == 400);
    CHECK(has(answer.at("/errors/0/pointer"), std::string(query).substr(0, std::string(query).find('='))));
  }
}

TEST_CASE_METHOD(Resources, "a follower gets what happens and ends with the server", "[events]") {
  events->add(event("sandbox.running", "before"));
  Client client(port());
  client.get("/api/v1/events", kAdmin);
  read_until(client, ":");  // it follows
  events->add(event("sandbox.running", "later"));
  const auto text = read_until(client, "later");
  CHECK_FALSE(has(text, "before"));
  begin_to_stop();
  CHECK(has(read_until(client, "0\r\n\r\n"), "0\r\n\r\n"));
}

TEST_CASE_METHOD(Resources, "a follower that is too slow misses events instead of filling memory", "[events]") {
  Client client(port(), 4096);
  client.get("/api/v1/events", kAdmin);
  read_until(client, ":");
  const auto large = EventData().text("reason", std::string(64 << 10, 'x')).take();
  // More than the server keeps, than it lets wait for a client and than sockets hold.
  for (std::size_t i = 0; i < 3 * kEventsKept; ++i) {
    events->add(event("sandbox.failed", "sb-1", "ann", large));
    std::this_thread::sleep_for(1ms);
  }
  events->add(event("sandbox.ended", "the-last"));
  const auto text = read_until(client, "the-last");
  CHECK(has(text, "event: events.missed"));
  CHECK(text.size() < 3 * kEventsKept * large.size());
}

TEST_CASE("the audit is the administrator's, by filters and pages", "[audit]") {
  const auto file = std::filesystem::temp_directory_path() / ("nanobox-audit-" + make_id("t"));
  {
    const auto trail = std::make_shared<AuditTrail>(file, AuditRetention{});
    Resources resources(trail);
    for (const auto* action : {"sandbox.create", "sandbox.exec", "sandbox.delete"})
      trail->add({.owner = "ann",
                  .peer = "127.0.0.1",
                  .request_id = "rq-1",
                  .action = action,
                  .subject = "sb-1",
                  .method = "POST",
                  .route = "/api/v1/sandboxes",
                  .detail = R"({"template":"web"})",
                  .status = 200,
                  .code = "",
                  .duration_ms = 12});
    REQUIRE(trail->write());
    CHECK(resources.get("/audit", "bbbb").code() == "forbidden");
    const auto page = resources.get("/audit?order=desc&limit=2&owner=ann");
    CHECK(page.size_of("/items") == 2);
    CHECK(page.at("/items/0/action") == "sandbox.delete");
    CHECK(page.at("/items/0/detail/template") == "web");
    CHECK(page.at("/items/0/code") == "null");
    const auto rest = resources.get("/audit?order=desc&limit=2&cursor=" + page.at("/next_cursor"));
    CHECK(rest.size_of("/items") == 1);
    CHECK(rest.at("/items/0/action") == "sandbox.create");
    CHECK(resources.get("/audit?action=sandbox.exec&subject=sb-1&since=2020-01-01T00:00:00Z").size_of("/items") == 1);
    CHECK(resources.get("/audit?until=2020-01-01T00:00:00.000Z").size_of("/items") == 0);
    CHECK(resources.get("/audit?since=yesterday").status == 400);
    CHECK(resources.get("/audit?order=up").status == 400);
  }
  for (const auto* ending : {"", "-wal", "-shm"}) std::filesystem::remove(file.string() + ending);
  CHECK(Resources().get("/audit").code() == "conflict");
  CHECK(Resources().get("/webhooks", "bbbb").code() == "forbidden");
  CHECK(Resources().get("/webhooks").size_of("/items") == 0);
}
