#include <catch2/catch.hpp>

#include "pipeline/store/control_store.hpp"
#include "store_folder.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

constexpr WallTime kNoon{1'700'000'000'000ms};
const IdempotencyScope kScope{.owner = "ann", .method = "POST", .path = "/api/v1/sandboxes", .key = "k1"};
const KeptAnswer kAnswer{.status = 201, .content_type = "application/json", .body = R"({"id":"sb-1"})"};

struct OpenStore {
  test::StoreFolder folder;
  std::shared_ptr<ControlStore> store = ControlStore::open(folder / "control.db").value();

  template <class Expected>
  Expected start(std::string_view digest = "sha256:1", WallTime now = kNoon, IdempotencyScope scope = kScope) {
    const auto started = store->start(scope, digest, now);
    REQUIRE(started);
    REQUIRE(std::holds_alternative<Expected>(*started));
    return std::get<Expected>(*started);
  }
};

}  // namespace

TEST_CASE_METHOD(OpenStore, "a repeat waits while the first is at work, then gets its answer", "[idempotency]") {
  start<idempotency::Fresh>();
  start<idempotency::InFlight>();
  REQUIRE(store->finish(kScope, kAnswer));
  CHECK(start<idempotency::Answered>().answer == kAnswer);
  CHECK(start<idempotency::Answered>("sha256:1", kNoon + 23h).answer == kAnswer);
}

TEST_CASE_METHOD(OpenStore, "another body under the same key is refused", "[idempotency]") {
  start<idempotency::Fresh>();
  const auto reused = store->start(kScope, "sha256:2", kNoon);
  REQUIRE_FALSE(reused);
  CHECK(reused.error().code == ErrorCode::idempotency_key_reused);
}

TEST_CASE_METHOD(OpenStore, "owner, method, path and key each make another scope", "[idempotency]") {
  start<idempotency::Fresh>();
  for (auto change :
       {&IdempotencyScope::owner, &IdempotencyScope::method, &IdempotencyScope::path, &IdempotencyScope::key}) {
    auto other = kScope;
    other.*change += "x";
    start<idempotency::Fresh>("sha256:9", kNoon, other);
  }
}

TEST_CASE_METHOD(OpenStore, "a day later the key is free again", "[idempotency]") {
  start<idempotency::Fresh>();
  REQUIRE(store->finish(kScope, kAnswer));
  start<idempotency::Fresh>("sha256:2", kNoon + 24h);
}

TEST_CASE_METHOD(OpenStore, "a row at work does not expire under its request", "[idempotency]") {
  start<idempotency::Fresh>();
  CHECK(store->expire_rows(kNoon + 48h).value() == 0);
  start<idempotency::InFlight>("sha256:1", kNoon + 48h);
}

TEST_CASE_METHOD(OpenStore, "an answer kept for ten minutes is afterwards known, but not kept", "[idempotency]") {
  start<idempotency::Fresh>();
  REQUIRE(store->finish(kScope, kAnswer, kNoon + 10min));
  CHECK(start<idempotency::Answered>("sha256:1", kNoon + 9min).answer);
  CHECK_FALSE(start<idempotency::Answered>("sha256:1", kNoon + 10min).answer);
  CHECK(store->expire_rows(kNoon + 11min).value() == 0);
  CHECK_FALSE(start<idempotency::Answered>("sha256:1", kNoon + 9min).answer);
  CHECK(store->expire_rows(kNoon + 25h).value() == 1);
}

TEST_CASE_METHOD(OpenStore, "an abandoned key may be tried again", "[idempotency]") {
  start<idempotency::Fresh>();
  REQUIRE(store->abandon(kScope));
  start<idempotency::Fresh>("sha256:2");
}

TEST_CASE_METHOD(OpenStore, "work that the daemon's end interrupted is taken over once, with what it had made",
                 "[idempotency]") {
  start<idempotency::Fresh>();
  REQUIRE(store->note_subject(kScope, "sb-1"));
  store.reset();
  store = ControlStore::open(folder / "control.db").value();
  CHECK(start<idempotency::Interrupted>().subject == "sb-1");
  start<idempotency::InFlight>();
}
