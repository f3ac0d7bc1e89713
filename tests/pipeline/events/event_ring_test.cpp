#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "config/event_types.hpp"
#include "config/id.hpp"
#include "pipeline/events/event_ring.hpp"

using namespace nanobox;

namespace {

NewEvent event(std::string type, std::string subject = "sb-1", std::string owner = "ann") {
  return {.type = std::move(type), .subject = std::move(subject), .node_id = "n1", .owner = std::move(owner)};
}

std::vector<std::string> subjects(const EventRing::Slice& slice) {
  std::vector<std::string> found;
  for (const auto& value : slice.events) found.push_back(value->subject);
  return found;
}

}  // namespace

TEST_CASE("ids ascend strictly, also within a millisecond", "[events]") {
  EventRing ring(10'000);
  std::string last;
  for (int i = 0; i < 5'000; ++i) {
    const auto added = ring.add(event("sandbox.running"));
    REQUIRE(is_id(added->id, "ev"));
    REQUIRE(added->id > last);
    last = added->id;
  }
}

TEST_CASE("an id is followed by the next, and a time by none that is less", "[events]") {
  CHECK(id_behind("ev-01") == "ev-02");
  CHECK(id_behind("ev-09") == "ev-0a");
  CHECK(id_behind("ev-0zz") == "ev-100");
  CHECK(id_behind("ev-zz") == "ev-zz");
  const auto before = wall_now();
  const auto id = make_id("au");
  CHECK(least_id_at("au", before) <= id);
  CHECK(least_id_at("au", wall_now() + std::chrono::milliseconds(1)) > id);
  CHECK(is_id(least_id_at("au", before), "au"));
}

TEST_CASE("whoever goes on from an id gets what came behind it, once", "[events]") {
  EventRing ring(10);
  ring.add(event("sandbox.creating", "a"));
  const auto second = ring.add(event("sandbox.running", "b"));
  ring.add(event("sandbox.ended", "c"));
  const auto found = ring.find(second->id);
  CHECK(found.complete);
  const auto slice = ring.behind(found.place, {}, 100);
  CHECK(subjects(slice) == std::vector<std::string>{"c"});
  CHECK(slice.at_end);
  CHECK(subjects(ring.behind(slice.next, {}, 100)).empty());
  ring.add(event("sandbox.creating", "d"));
  CHECK(subjects(ring.behind(slice.next, {}, 100)) == std::vector<std::string>{"d"});
}

TEST_CASE("the oldest events go, and whoever was behind them learns it", "[events]") {
  EventRing ring(3);
  const auto first = ring.add(event("sandbox.running", "1"));
  const auto start = ring.find(first->id);
  for (const auto* name : {"2", "3", "4"}) ring.add(event("sandbox.running", name));
  // The first itself has gone, nothing behind it has.
  CHECK(ring.find(first->id).complete);
  CHECK_FALSE(ring.behind(start.place, {}, 100).gap);
  ring.add(event("sandbox.running", "5"));
  const auto found = ring.find(first->id);
  CHECK_FALSE(found.complete);
  CHECK(subjects(ring.behind(found.place, {}, 100)) == std::vector<std::string>{"3", "4", "5"});
  const auto late = ring.behind(start.place, {}, 100);
  CHECK(late.gap);
  CHECK(subjects(late) == std::vector<std::string>{"3", "4", "5"});
  CHECK(ring.oldest() == late.events.front()->id);
}

TEST_CASE("an id from before a restart of the daemon is not complete, one of the future is at the end", "[events]") {
  const auto before = make_id("ev");
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EventRing ring(3);
  CHECK_FALSE(ring.find(before).complete);
  ring.add(event("sandbox.running"));
  CHECK(ring.find(before).place == 0);
  CHECK(ring.find("ev-7zzzzzzzzzzzzzzzzzzzzzzzzz").place == ring.end());
}

TEST_CASE("a slice is at most as long as asked for and goes on where it ended", "[events]") {
  EventRing ring(10);
  for (const auto* name : {"1", "2", "3"}) ring.add(event("sandbox.running", name));
  const auto first = ring.behind(0, {}, 2);
  CHECK(subjects(first) == std::vector<std::string>{"1", "2"});
  CHECK_FALSE(first.at_end);
  const auto second = ring.behind(first.next, {}, 2);
  CHECK(subjects(second) == std::vector<std::string>{"3"});
  CHECK(second.at_end);
}

TEST_CASE("filters let pass what they name", "[events]") {
  auto node = event("node.lost", "n1", "");
  auto sandbox = event("sandbox.failed");
  CHECK(EventFilter{}.lets(node));
  CHECK_FALSE(EventFilter{.owner = "ann", .types = {}, .subject = {}, .node_id = {}}.lets(node));
  CHECK(EventFilter{.owner = "ann", .types = {}, .subject = {}, .node_id = {}}.lets(sandbox));
  CHECK_FALSE(EventFilter{.owner = "bob", .types = {}, .subject = {}, .node_id = {}}.lets(sandbox));
  const EventFilter types{
      .owner = {}, .types = parse_event_types("sandbox.,node.ready").value(), .subject = {}, .node_id = {}};
  CHECK(types.lets(sandbox));
  CHECK_FALSE(types.lets(node));
  CHECK(EventFilter{.owner = {}, .types = {}, .subject = "sb-1", .node_id = "n1"}.lets(sandbox));
  CHECK_FALSE(EventFilter{.owner = {}, .types = {}, .subject = "sb-2", .node_id = {}}.lets(sandbox));
  CHECK_FALSE(EventFilter{.owner = {}, .types = {}, .subject = {}, .node_id = "n2"}.lets(sandbox));
}

TEST_CASE("types that no event has are refused by name", "[events]") {
  for (const auto* text : {"", "sandbox", "sandbox.,", "sandbox.runing", "Node."}) {
    const auto parsed = parse_event_types(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().fields.at(0).pointer == "?type");
  }
  CHECK(std::ranges::is_sorted(event_types()));
}

TEST_CASE("watchers see every event in its order, until their watch ends", "[events]") {
  EventRing ring(10);
  std::vector<std::string> seen;
  {
    const auto watch = ring.watch([&](const EventRing::Value& value) { seen.push_back(value->subject); });
    ring.add(event("sandbox.running", "1"));
    ring.add(event("sandbox.running", "2"));
  }
  ring.add(event("sandbox.running", "3"));
  CHECK(seen == std::vector<std::string>{"1", "2"});
}

TEST_CASE("events of many threads are all kept, each with an id of its own", "[events]") {
  EventRing ring(10'000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&ring] {
      for (int i = 0; i < 500; ++i) ring.add(event("sandbox.running"));
    });
  for (auto& thread : threads) thread.join();
  std::set<std::string> ids;
  std::string last;
  for (const auto& value : ring.behind(0, {}, 10'000).events) {
    CHECK(value->id > last);
    last = value->id;
    ids.insert(last);
  }
  CHECK(ids.size() == 2'000);
}

TEST_CASE("an event as JSON", "[events]") {
  Event kept;
  kept.type = "node.lost";
  kept.subject = "n1";
  kept.node_id = "n1";
  kept.id = "ev-1";
  kept.time = WallTime(std::chrono::milliseconds(0));
  kept.data = EventData().text("reason", "it \xff said \"no\"").text("cause", "").number("restarts", 2).take();
  CHECK(to_json(kept) ==
        R"({"id":"ev-1","time":"1970-01-01T00:00:00.000Z","type":"node.lost","subject":"n1","node_id":"n1",)"
        R"("owner":null,"data":{"reason":"it ? said \"no\"","cause":null,"restarts":2}})");
}
