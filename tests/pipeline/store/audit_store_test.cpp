#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "pipeline/store/audit_trail.hpp"
#include "store_folder.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

AuditEntry entry(std::string action, std::string subject = "sb-1", std::string owner = "ann") {
  return {.id = "",
          .time = {},
          .owner = std::move(owner),
          .peer = "127.0.0.1",
          .request_id = "rq-1",
          .action = std::move(action),
          .subject = std::move(subject),
          .method = "POST",
          .route = "/api/v1/sandboxes/{id}/exec",
          .detail = R"({"command":"ls"})",
          .status = 404,
          .code = "sandbox_not_found",
          .duration_ms = 12};
}

struct OpenTrail {
  test::StoreFolder folder;
  std::unique_ptr<AuditTrail> trail = open();
  std::unique_ptr<AuditTrail> open(AuditRetention retention = {}, std::size_t most = 100'000) const {
    return std::make_unique<AuditTrail>(folder / "audit.db", retention, most);
  }
  std::vector<std::string> actions(const AuditQuery& query) const {
    std::vector<std::string> found;
    for (const auto& row : trail->find(query).value()) found.push_back(row.action);
    return found;
  }
};
using Actions = std::vector<std::string>;

}  // namespace

TEST_CASE_METHOD(OpenTrail, "entries are there after a restart, as they were", "[audit]") {
  trail->add(entry("sandbox.exec"));
  CHECK(trail->waiting() == 1);
  REQUIRE(trail->write());
  CHECK(trail->waiting() == 0);
  trail = open();
  const auto found = trail->find({}).value();
  REQUIRE(found.size() == 1);
  auto expected = entry("sandbox.exec");
  expected.id = found[0].id;
  expected.time = found[0].time;
  CHECK(found[0] == expected);
  CHECK(wall_now() - found[0].time < 1min);
  struct stat info {};
  REQUIRE(::stat((folder / "audit.db").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE_METHOD(OpenTrail, "entries are found by owner, action, subject and time, in both orders, page by page",
                 "[audit]") {
  trail->add(entry("sandbox.create", "sb-1"));
  trail->add(entry("sandbox.exec", "sb-1"));
  trail->add(entry("sandbox.exec", "sb-2", "bob"));
  trail->add(entry("node.drain", "n1", "admin"));
  REQUIRE(trail->write());
  CHECK(actions({.owner = "ann"}) == Actions{"sandbox.create", "sandbox.exec"});
  CHECK(actions({.action = "sandbox.exec"}).size() == 2);
  CHECK(actions({.subject = "sb-2"}) == Actions{"sandbox.exec"});
  CHECK(actions({.since = wall_now() - 1min}).size() == 4);
  CHECK(actions({.since = wall_now() + 1min}).empty());
  CHECK(actions({.until = wall_now() - 1min}).empty());
  const auto first = trail->find({.newest_first = true, .most = 1}).value();
  CHECK(first.at(0).action == "node.drain");
  CHECK(actions({.newest_first = true, .behind = first[0].id, .most = 2}) == Actions{"sandbox.exec", "sandbox.exec"});
  const auto oldest = trail->find({.most = 2}).value();
  CHECK(actions({.behind = oldest[1].id}) == Actions{"sandbox.exec", "node.drain"});
}

TEST_CASE_METHOD(OpenTrail, "what is too old goes", "[audit]") {
  trail->add(entry("sandbox.exec"));
  REQUIRE(trail->write());
  REQUIRE(trail->retire(wall_now() + std::chrono::days(29)));
  CHECK(actions({}).size() == 1);
  REQUIRE(trail->retire(wall_now() + std::chrono::days(31)));
  CHECK(actions({}).empty());
}

TEST_CASE_METHOD(OpenTrail, "of too much the oldest goes, and the file stays within its bound", "[audit]") {
  constexpr std::uint64_t kMost = 1 << 20;
  trail = open({.bytes = kMost});
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 2'000; ++i) trail->add(entry("sandbox.exec", "sb-" + std::to_string(round)));
    REQUIRE(trail->write());
    REQUIRE(trail->retire(wall_now()));
    CHECK(AuditStore::open(folder / "audit.db").value()->bytes().value() <= kMost);
  }
  const auto newest = trail->find({.newest_first = true, .most = 1}).value();
  CHECK(newest.at(0).subject == "sb-4");
  CHECK(actions({.subject = "sb-0", .most = 1}).empty());
  CHECK(std::filesystem::file_size(folder / "audit.db") < 2 * kMost);
}

TEST_CASE_METHOD(OpenTrail, "beyond the bound entries are lost, counted, and nobody waits", "[audit]") {
  trail = open({}, 2);
  int woken = 0;
  trail->on_waiting([&] { ++woken; });
  for (int i = 0; i < 5; ++i) trail->add(entry("sandbox.exec"));
  CHECK(woken == 1);
  CHECK(trail->take_lost() == 3);
  CHECK(trail->take_lost() == 0);
  REQUIRE(trail->write());
  trail->add(entry("sandbox.exec"));
  CHECK(woken == 2);
  REQUIRE(trail->write());
  CHECK(actions({}).size() == 3);
}

TEST_CASE_METHOD(OpenTrail, "what cannot be written waits until it can", "[audit]") {
  std::filesystem::create_directory(folder / "audit.db");
  trail->add(entry("sandbox.exec"));
  const auto written = trail->write();
  REQUIRE_FALSE(written);
  CHECK(written.error().code == ErrorCode::store_failed);
  CHECK(trail->waiting() == 1);
  std::filesystem::remove(folder / "audit.db");
  REQUIRE(trail->write());
  CHECK(actions({}).size() == 1);
}
