#include <catch2/catch.hpp>

#include "some_nodes.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

Reservation share(std::string sandbox_id, std::string node_id, Amounts resources = kSmall) {
  return {.sandbox_id = std::move(sandbox_id),
          .node_id = std::move(node_id),
          .owner = "ann",
          .resources = resources,
          .from_pool = ""};
}

}  // namespace

TEST_CASE_METHOD(SomeCluster, "a share is reserved, then used, then given back; each time once", "[placement]") {
  add(1);
  const auto& node = *view.find("n1");
  for (int at = 0; at < 2; ++at) {
    REQUIRE(view.reserve(share("sb-1", "n1")));
    CHECK(node.reserved == kSmall);
    CHECK(node.used == Amounts{});
  }
  for (int at = 0; at < 2; ++at) {
    REQUIRE(view.confirm("sb-1"));
    CHECK(node.reserved == Amounts{});
    CHECK(node.used == kSmall);
    CHECK(node.occupied == kSmall);
    CHECK(node.sandboxes_by_owner.at("ann") == 1);
  }
  REQUIRE(view.reserve(share("sb-1", "n1")));
  CHECK(node.occupied == kSmall);
  for (int at = 0; at < 2; ++at) {
    view.release("sb-1");
    CHECK(node.occupied == Amounts{});
    CHECK(node.sandboxes_by_owner.empty());
    CHECK(view.find_share("sb-1") == nullptr);
  }
  CHECK(view.confirm("sb-1").error().code == ErrorCode::sandbox_not_found);
}

TEST_CASE_METHOD(SomeCluster, "a sandbox has one share", "[placement]") {
  add(2);
  REQUIRE(view.reserve(share("sb-1", "n1")));
  CHECK(view.reserve(share("sb-1", "n2")).error().code == ErrorCode::conflict);
  CHECK(view.reserve(share("sb-1", "n1", kSmall + kSmall)).error().code == ErrorCode::conflict);
  CHECK(view.find("n2")->occupied == Amounts{});
}

TEST_CASE_METHOD(SomeCluster, "nothing is reserved where it does not fit or the node is not ready", "[placement]") {
  add(1);
  CHECK(view.reserve(share("sb-1", "n9")).error().code == ErrorCode::node_not_found);
  CHECK(view.reserve(share("sb-1", "n1", kSmall * 9)).error().code == ErrorCode::no_capacity);
  const Amounts endless{.vcpu = ~0ULL, .memory_mb = ~0ULL, .disk_mb = ~0ULL, .addresses = ~0ULL};
  CHECK(view.reserve(share("sb-1", "n1", endless)).error().code == ErrorCode::no_capacity);
  REQUIRE(view.set_state("n1", NodeState::draining));
  CHECK(view.reserve(share("sb-1", "n1")).error().code == ErrorCode::no_capacity);
  REQUIRE(view.set_state("n1", NodeState::lost));
  CHECK(view.reserve(share("sb-1", "n1")).error().code == ErrorCode::node_lost);
  CHECK(view.shares() == 0);
}

TEST_CASE_METHOD(SomeCluster, "a heartbeat changes what there is, not what sandboxes take", "[placement]") {
  add(1);
  REQUIRE(view.reserve(share("sb-1", "n1")));
  REQUIRE(view.reserve(share("sb-2", "n1")));
  REQUIRE(view.confirm("sb-1"));
  REQUIRE(view.set_cordoned("n1", true));
  auto heartbeat = some_node("n1");
  heartbeat.capacity.memory_mb = 1024;
  heartbeat.outside.memory_mb = 100;
  for (int at = 0; at < 3; ++at) add(heartbeat);
  const auto& node = *view.find("n1");
  CHECK(node.used == kSmall);
  CHECK(node.reserved == kSmall);
  CHECK(node.occupied.memory_mb == 1124);
  CHECK(node.limit.memory_mb == 1024);
  CHECK(node.cordoned);
  CHECK(view.nodes().size() == 1);
}

TEST_CASE_METHOD(SomeCluster, "amounts beyond all measure do not wrap", "[placement]") {
  add(1);
  auto broken = some_node("n1");
  broken.outside.memory_mb = ~0ULL;
  broken.pools["ann/python"] = {.ready = ~0U, .each = kSmall + Amounts{.memory_mb = ~0ULL}};
  broken.pools["ann/python"].each.vcpu = ~0ULL;
  add(broken);
  CHECK(refused(some_wish()).reason == "1 node: 1 full (vcpu, memory, disk, addresses)");
  auto empty = some_node("n1");
  empty.overcommit = {.vcpu = -1, .memory = 0, .disk = std::numeric_limits<double>::quiet_NaN()};
  add(empty);
  CHECK(refused(some_wish()).reason == "no node can ever take it. 1 node: 1 too small (vcpu, memory, disk)");
}

TEST_CASE_METHOD(SomeCluster, "a pool's members take room, and whoever takes one takes its room", "[placement]") {
  auto node = some_node("n1");
  node.pools["ann/python"] = {.ready = 8, .each = kSmall};
  add(node);
  auto stranger = some_wish();
  stranger.template_key = "bob/node";
  CHECK(refused(stranger).reason == "1 node: 1 full (memory)");
  for (int at = 0; at < 8; ++at) {
    const auto decision = start(some_wish(), "sb-" + std::to_string(at));
    REQUIRE(decision);
    CHECK(decision->warmth == Warmth::pool);
    CHECK(view.find("n1")->occupied.memory_mb == 4096);
  }
  CHECK(view.with_pool("ann/python").empty());
  CHECK(refused(some_wish()).reason == "1 node: 1 full (memory)");
}

TEST_CASE_METHOD(SomeCluster, "a member on its way out is not given twice, whatever heartbeats say", "[placement]") {
  auto node = some_node("n1");
  node.pools["ann/python"] = {.ready = 1, .each = kSmall};
  add(node);
  REQUIRE(start(some_wish(), "sb-1")->warmth == Warmth::pool);
  add(node);  // sent before the take was known there
  CHECK(place(view, some_wish(), random)->warmth == Warmth::nothing);
  CHECK(view.find("n1")->occupied.memory_mb == 1024);  // counted twice rather than not at all
  REQUIRE(view.confirm("sb-1"));
  node.pools.clear();
  add(node);
  CHECK(view.find("n1")->occupied == kSmall);
  node.pools["ann/python"] = {.ready = 1, .each = kSmall};
  add(node);
  CHECK(place(view, some_wish(), random)->warmth == Warmth::pool);
}

TEST_CASE_METHOD(SomeCluster, "a lost node's shares stay until it is removed, and are told then", "[placement]") {
  add(3);
  REQUIRE(view.reserve(share("sb-2", "n1")));
  REQUIRE(view.reserve(share("sb-1", "n1")));
  REQUIRE(view.reserve(share("sb-3", "n3")));
  REQUIRE(view.set_state("n1", NodeState::lost));
  CHECK(view.sandboxes_on("n1") == std::vector<std::string>{"sb-1", "sb-2"});
  CHECK(view.find("n1")->reserved == kSmall + kSmall);
  CHECK(view.remove("n1") == std::vector<std::string>{"sb-1", "sb-2"});
  CHECK(view.find("n1") == nullptr);
  CHECK(view.shares() == 1);
  CHECK(view.remove("n1").empty());
  view.release("sb-1");
  REQUIRE(view.confirm("sb-3"));
  CHECK(view.find("n3")->used == kSmall);
  CHECK(view.set_state("n1", NodeState::ready).error().code == ErrorCode::node_not_found);
  CHECK(view.set_cordoned("n1", true).error().code == ErrorCode::node_not_found);
}

TEST_CASE_METHOD(SomeCluster, "a running sandbox is adopted whether there is room or not", "[placement]") {
  add(2);
  REQUIRE(view.adopt(share("sb-1", "n1", kSmall * 9)));
  CHECK(view.find("n1")->used == kSmall * 9);
  CHECK(placed(some_wish()) == "n2");
  REQUIRE(view.adopt(share("sb-1", "n2")));
  CHECK(view.find("n1")->used == Amounts{});
  CHECK(view.find("n2")->used == kSmall);
  CHECK(view.adopt(share("sb-2", "n9")).error().code == ErrorCode::node_not_found);
}

TEST_CASE_METHOD(SomeCluster, "nodes are found by what they have, also after others are removed", "[placement]") {
  for (const auto* id : {"n1", "n2", "n3", "n4"}) {
    auto node = some_node(id);
    node.rootfs = {"rootfs-1", std::string("only-") + id};
    if (node.node_id == "n4") node.snapshots = {"snapshot-1", "snapshot-1", ""};
    add(node);
  }
  REQUIRE(view.set_cordoned("n4", true));
  view.remove("n2");
  const auto names = [&](std::span<const ClusterView::Slot> slots) {
    std::vector<std::string> ids;
    for (const auto slot : slots) ids.push_back(view.nodes()[slot].id);
    std::sort(ids.begin(), ids.end());
    return ids;
  };
  CHECK(names(view.with_rootfs("rootfs-1")) == std::vector<std::string>{"n1", "n3", "n4"});
  CHECK(names(view.with_rootfs("only-n2")).empty());
  CHECK(names(view.with_snapshot("snapshot-1")) == std::vector<std::string>{"n4"});
  CHECK(names(view.with_snapshot("")).empty());
  CHECK(names(view.open()) == std::vector<std::string>{"n1", "n3"});
  auto bare = some_node("n4");
  add(bare);
  CHECK(names(view.with_rootfs("rootfs-1")) == std::vector<std::string>{"n1", "n3"});
  CHECK(names(view.with_snapshot("snapshot-1")).empty());
}

TEST_CASE_METHOD(SomeCluster, "a burst fills the cluster exactly, then waits", "[placement]") {
  add(25);
  for (int at = 0; at < 200; ++at) REQUIRE(start(some_wish(), "sb-" + std::to_string(at)));
  CHECK(refused(some_wish()).reason == "25 nodes: 25 full (memory)");
  for (const auto& node : view.nodes()) CHECK(node.reserved.memory_mb == node.limit.memory_mb);
  view.release("sb-77");
  CHECK(start(some_wish(), "sb-200"));
  CHECK_FALSE(start(some_wish(), "sb-201"));
}
