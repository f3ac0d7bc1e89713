#include <catch2/catch.hpp>

#include "config/event_types.hpp"
#include "pipeline/events/webhook.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

EventRing::Value event(std::string type, std::string id) {
  auto made = std::make_shared<Event>();
  made->type = std::move(type);
  made->id = std::move(id);
  return made;
}

}  // namespace

TEST_CASE("a signature is the HMAC-SHA256 of time and body", "[webhook]") {
  // printf '1700000000.{"id":"ev-1"}' | openssl dgst -sha256 -hmac 0123456789abcdef
  CHECK(webhook_signature("0123456789abcdef", 1'700'000'000, R"({"id":"ev-1"})") ==
        "t=1700000000,v1=10ee5c825b0df83e073d45a4654433f40701bff8f7cfc992781c06eb063de106");
}

TEST_CASE("pauses double up to the longest, each somewhere in its upper half", "[webhook]") {
  const WebhookRetry retry{.attempts = 8, .first_pause = 500ms, .longest_pause = 4s, .timeout = 1s};
  CHECK(pause_after(retry, 1, 0.0) == 250ms);
  CHECK(pause_after(retry, 1, 0.5) == 375ms);
  CHECK(pause_after(retry, 3, 0.0) == 1s);
  CHECK(pause_after(retry, 100, 0.0) == 2s);
  CHECK(pause_after(retry, 100, 0.999) < 4s);
}

TEST_CASE("a webhook's queue keeps the order, the wanted types and its bound", "[webhook]") {
  WebhookQueue queue({.url = "http://a/", .secret = "s", .types = {"sandbox."}}, 2);
  CHECK_FALSE(queue.add(event("node.lost", "ev-0")));
  CHECK(queue.add(event("sandbox.creating", "ev-1")));
  CHECK_FALSE(queue.add(event("sandbox.running", "ev-2")));
  queue.add(event("sandbox.ended", "ev-3"));  // the one being tried stays
  CHECK(queue.front()->id == "ev-1");
  queue.failed({.code = ErrorCode::connection_failed, .attempted = "", .subject = "", .reason = "refused", .mend = ""});
  auto status = queue.status();
  CHECK((status.pending == 2 && status.dead_letters == 1 && status.failed_attempts == 1));
  CHECK(status.last_error == "refused");
  CHECK_FALSE(status.last_delivered_at);
  queue.delivered();
  CHECK(queue.front()->id == "ev-3");
  queue.give_up();
  CHECK(queue.front() == nullptr);
  status = queue.status();
  CHECK((status.pending == 0 && status.dead_letters == 2 && status.delivered == 1));
  CHECK(status.last_delivered_at);
}

TEST_CASE("addresses of webhooks", "[webhook]") {
  for (const auto* good : {"http://a", "https://a.example:8443/hook?x=1", "http://[::1]:9/"})
    CHECK_FALSE(problem_with_hook_url(good));
  for (const auto* bad : {"", "a.example", "ftp://a/", "http://", "http:///x", "https://u:p@a/", "http://a/ b",
                          "http://a/#x", "file:///etc/passwd", "http://:80/"})
    CHECK(problem_with_hook_url(bad));
}
