#include <catch2/catch.hpp>
#include <condition_variable>

#include "actors/audit_log.hpp"
#include "actors/node.hpp"
#include "tests/pipeline/store/store_folder.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

AuditEntry entry(std::string action) {
  AuditEntry made;
  made.owner = "ann";
  made.action = std::move(action);
  return made;
}

/// Waits for events by their type.
class Awaited {
public:
  explicit Awaited(EventRing& ring)
      : watch_(ring.watch([this](const EventRing::Value& event) {
          const std::lock_guard lock(mutex_);
          types_.push_back(event->type);
          changed_.notify_all();
        })) {}
  bool comes(const std::string& type) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 20s, [&] { return std::ranges::find(types_, type) != types_.end(); });
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> types_;
  EventRing::Watch watch_;
};

}  // namespace

TEST_CASE("an audit that cannot be written says so and catches up; at its end all is written", "[audit]") {
  const test::StoreFolder folder;
  std::filesystem::create_directory(folder / "audit.db");
  const auto trail = std::make_shared<AuditTrail>(folder / "audit.db", AuditRetention{});
  const auto ring = std::make_shared<EventRing>(10);
  Awaited events(*ring);
  {
    ActorSystemConfig config;
    caf::actor_system system(config);
    const auto log = system.spawn<caf::detached>(audit_log, trail, ring);
    trail->add(entry("sandbox.create"));
    REQUIRE(events.comes("audit.failed"));
    std::filesystem::remove(folder / "audit.db");
    REQUIRE(events.comes("audit.resumed"));
    CHECK(trail->find({}).value().size() == 1);
    trail->add(entry("sandbox.delete"));
    caf::anon_send_exit(log, caf::exit_reason::user_shutdown);
  }
  CHECK(trail->find({}).value().size() == 2);
}

TEST_CASE("entries that were lost are told", "[audit]") {
  const test::StoreFolder folder;
  const auto trail = std::make_shared<AuditTrail>(folder / "audit.db", AuditRetention{}, 1);
  const auto ring = std::make_shared<EventRing>(10);
  Awaited events(*ring);
  for (int i = 0; i < 3; ++i) trail->add(entry("sandbox.exec"));
  ActorSystemConfig config;
  caf::actor_system system(config);
  const auto log = system.spawn<caf::detached>(audit_log, trail, ring);
  CHECK(events.comes("audit.failed"));
  caf::anon_send_exit(log, caf::exit_reason::user_shutdown);
  CHECK(ring->behind(0, {}, 1).events.at(0)->data.find(R"("lost":2)") != std::string::npos);
}
