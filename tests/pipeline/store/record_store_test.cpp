#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "pipeline/store/control_store.hpp"
#include "store_folder.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

struct OpenStore {
  test::StoreFolder folder;
  std::shared_ptr<ControlStore> store = ControlStore::open(folder / "control.db").value();
};

RecordChange put(std::string kind, std::string key, std::string value,
                 std::optional<std::uint64_t> expect = std::nullopt, std::uint64_t lease = 0) {
  return {.kind = std::move(kind),
          .key = std::move(key),
          .expect = expect,
          .owner = "ann",
          .value = std::move(value),
          .lease = lease};
}

RecordChange erase(std::string kind, std::string key, std::optional<std::uint64_t> expect = std::nullopt) {
  return {
      .kind = std::move(kind), .key = std::move(key), .expect = expect, .owner = "", .value = std::nullopt, .lease = 0};
}

constexpr WallTime kNoon{1'700'000'000'000ms};

}  // namespace

TEST_CASE_METHOD(OpenStore, "a record is what was put last, with its owner and the revision that wrote it",
                 "[records]") {
  const auto first = put_record(*store, "template", "node22", "ann", R"({"a":1})").value();
  const auto second = put_record(*store, "template", "node22", "bob", R"({"a":2})").value();
  CHECK(second > first);
  CHECK(store->get("template", "node22").value() ==
        Record{
            .kind = "template", .key = "node22", .owner = "bob", .version = second, .value = R"({"a":2})", .lease = 0});
  CHECK_FALSE(store->get("sandbox", "node22").value());
}

TEST_CASE_METHOD(OpenStore, "values and keys keep every byte, NUL too", "[records]") {
  const std::string odd{"a\0b\xc3\xa4'\"%", 9};
  REQUIRE(put_record(*store, "k", odd, "o", odd));
  CHECK(store->get("k", odd).value()->value == odd);
  REQUIRE(put_record(*store, "k", "empty", "", ""));
  CHECK(store->get("k", "empty").value()->value.empty());
}

TEST_CASE_METHOD(OpenStore, "a transaction whose expectation fails changes nothing at all", "[records]") {
  const auto version = put_record(*store, "k", "a", "ann", "1").value();
  const auto refused = store->commit({put("k", "b", "2", 0), put("k", "a", "3", version + 7)});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::conflict);
  CHECK(refused.error().subject == "k/a");
  CHECK_FALSE(store->get("k", "b").value());
  CHECK(store->get("k", "a").value()->value == "1");
  CHECK(store->commit({put("k", "b", "2", 0), put("k", "a", "3", version)}));
}

TEST_CASE_METHOD(OpenStore, "expecting version 0 means that the record must not exist", "[records]") {
  CHECK(store->commit({put("k", "a", "1", 0)}));
  CHECK(store->commit({put("k", "a", "2", 0)}).error().code == ErrorCode::conflict);
  CHECK(store->commit({erase("k", "b", 0)}));
}

TEST_CASE_METHOD(OpenStore, "a record made anew never has an old version again", "[records]") {
  const auto version = put_record(*store, "k", "a", "ann", "1").value();
  REQUIRE(delete_record(*store, "k", "a"));
  REQUIRE(put_record(*store, "k", "a", "ann", "1"));
  CHECK(store->commit({put("k", "a", "2", version)}).error().code == ErrorCode::conflict);
}

TEST_CASE_METHOD(OpenStore, "a key that occurs twice in one transaction is refused", "[records]") {
  CHECK(store->commit({put("k", "a", "1"), put("k", "a", "2")}).error().code == ErrorCode::conflict);
  CHECK_FALSE(store->get("k", "a").value());
}

TEST_CASE_METHOD(OpenStore, "deleting what is not there succeeds and tells no watcher", "[records]") {
  int events = 0;
  const auto watch = store->watch("k", [&](const RecordEvent&) { ++events; });
  CHECK(delete_record(*store, "k", "nothing"));
  CHECK(events == 0);
}

TEST_CASE_METHOD(OpenStore, "lists go page by page in the order of keys, within a kind and prefix", "[records]") {
  for (const char* key : {"b", "a/2", "a/10", "a/1", "a\xff", "c"}) REQUIRE(put_record(*store, "k", key, "ann", key));
  REQUIRE(put_record(*store, "other", "a/3", "ann", ""));
  const auto page = store->list({.kind = "k", .key_prefix = "a/", .cursor = "", .limit = 2}).value();
  REQUIRE(page.items.size() == 2);
  CHECK(page.items[0].key == "a/1");
  CHECK(page.items[1].key == "a/10");
  REQUIRE(page.next_cursor);
  const auto rest = store->list({.kind = "k", .key_prefix = "a/", .cursor = *page.next_cursor, .limit = 2}).value();
  REQUIRE(rest.items.size() == 1);
  CHECK(rest.items[0].key == "a/2");
  CHECK_FALSE(rest.next_cursor);
}

TEST_CASE_METHOD(OpenStore, "all_records pages through more than one page holds", "[records]") {
  std::vector<RecordChange> changes;
  for (int i = 0; i < 2500; ++i) changes.push_back(put("k", "key-" + std::to_string(10000 + i), "{}"));
  REQUIRE(store->commit(changes));
  CHECK(all_records(*store, "k").value().size() == 2500);
}

TEST_CASE_METHOD(OpenStore, "a watch sees each change of its kind once, in order, until it ends", "[watch]") {
  std::vector<std::string> seen;
  std::uint64_t last = 0;
  auto watch = store->watch("k", [&](const RecordEvent& event) {
    CHECK(event.record.version > last);
    last = event.record.version;
    seen.push_back((event.deleted ? "-" : "+") + event.record.key);
  });
  REQUIRE(put_record(*store, "k", "a", "ann", "1"));
  REQUIRE(put_record(*store, "other", "x", "ann", "1"));
  REQUIRE(delete_record(*store, "k", "a"));
  watch.reset();
  REQUIRE(put_record(*store, "k", "b", "ann", "1"));
  CHECK(seen == std::vector<std::string>{"+a", "-a"});
}

TEST_CASE_METHOD(OpenStore, "a watcher may use the store and end its own watch", "[watch]") {
  std::unique_ptr<RecordWatch> watch;
  int calls = 0;
  watch = store->watch("k", [&](const RecordEvent& event) {
    ++calls;
    CHECK(put_record(*store, "seen", event.record.key, "ann", "1"));
    watch.reset();
  });
  REQUIRE(put_record(*store, "k", "a", "ann", "1"));
  REQUIRE(put_record(*store, "k", "b", "ann", "1"));
  CHECK(calls == 1);
  CHECK(store->get("seen", "a").value());
}

TEST_CASE_METHOD(OpenStore, "records of a lease go when it is not kept, and their watchers hear it", "[lease]") {
  const auto lease = store->grant_lease("node-1", 10s, kNoon).value();
  REQUIRE(store->commit({put("node", "1", "{}", 0, lease)}));
  std::vector<std::string> gone;
  const auto watch = store->watch("node", [&](const RecordEvent& event) {
    if (event.deleted) gone.push_back(event.record.key);
  });
  CHECK(store->expire_leases(kNoon + 9s).value() == kNoon + 10s);
  REQUIRE(store->keep_lease(lease, kNoon + 9s));
  CHECK(store->expire_leases(kNoon + 18s).value() == kNoon + 19s);
  CHECK(gone.empty());
  CHECK_FALSE(store->expire_leases(kNoon + 19s).value());
  CHECK(gone == std::vector<std::string>{"1"});
  CHECK_FALSE(store->get("node", "1").value());
  CHECK(store->keep_lease(lease, kNoon + 20s).error().code == ErrorCode::conflict);
  CHECK(store->commit({put("node", "1", "{}", 0, lease)}).error().code == ErrorCode::conflict);
}

TEST_CASE_METHOD(OpenStore, "a revoked lease takes its records along; others stay", "[lease]") {
  const auto lease = store->grant_lease("n", 10s, kNoon).value();
  REQUIRE(store->commit({put("k", "mine", "{}", 0, lease), put("k", "stays", "{}")}));
  REQUIRE(store->revoke_lease(lease));
  REQUIRE(all_records(*store, "k").value().size() == 1);
  CHECK(all_records(*store, "k").value()[0].key == "stays");
}

TEST_CASE_METHOD(OpenStore, "threads that increment one record by compare and swap lose no step", "[records]") {
  REQUIRE(put_record(*store, "k", "counter", "ann", "0"));
  std::atomic<int> seen{0};
  const auto watch = store->watch("k", [&](const RecordEvent&) { ++seen; });
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int done = 0; done < 50;) {
        const auto page = store->list({.kind = "k", .key_prefix = "counter", .cursor = "", .limit = 1}).value();
        const auto next = std::to_string(std::stoi(page.items.at(0).value) + 1);
        if (store->commit({put("k", "counter", next, page.items.at(0).version)})) ++done;
      }
    });
  threads.clear();
  CHECK(store->get("k", "counter").value()->value == "200");
  CHECK(seen == 200);
}
