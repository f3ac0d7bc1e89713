#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "some_nodes.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

/// n1 has nothing and is empty; n2 has the root, n3 also the snapshot, n4 also a pool member: each fuller.
struct WarmCluster : SomeCluster {
  WarmCluster() {
    add(some_node("n1"));
    auto node = some_node("n2");
    node.rootfs = {"rootfs-1"};
    add(node);
    node.node_id = "n3";
    node.snapshots = {"snapshot-1"};
    add(node);
    node.node_id = "n4";
    node.pools["ann/python"] = {.ready = 1, .each = kSmall};
    add(node);
    fill("n2", 5);
    fill("n3", 6);
    fill("n4", 7);
  }
};

}  // namespace

TEST_CASE_METHOD(WarmCluster, "a pool member outweighs the snapshot, that the template, that the load", "[placement]") {
  const std::vector<std::pair<std::string, Warmth>> expected{
      {"n4", Warmth::pool},   {"n3", Warmth::snapshot}, {"n3", Warmth::snapshot}, {"n2", Warmth::rootfs},
      {"n2", Warmth::rootfs}, {"n2", Warmth::rootfs},   {"n1", Warmth::nothing}};
  int at = 0;
  for (const auto& [node, warmth] : expected) {
    const auto decision = start(some_wish(), "sb-" + std::to_string(at++));
    REQUIRE(decision);
    CHECK(decision->node_id == node);
    CHECK(decision->warmth == warmth);
  }
}

TEST_CASE_METHOD(WarmCluster, "who insists on a way is not lured by a faster one", "[placement]") {
  auto wish = some_wish();
  wish.way = BootWay::snapshot;
  std::set<std::string> nodes;
  for (int at = 0; at < 50; ++at) {
    const auto decision = place(view, wish, random);
    CHECK(decision->warmth == Warmth::snapshot);
    nodes.insert(decision->node_id);
  }
  CHECK(nodes == std::set<std::string>{"n3"});  // n4's room is its member's
  wish.way = BootWay::cold;
  CHECK(placed(wish) == "n2");
  CHECK(place(view, wish, random)->warmth == Warmth::rootfs);
}

TEST_CASE_METHOD(SomeCluster, "of two nodes the less loaded wins, by the share and not by the number", "[placement]") {
  add(2);
  fill("n1", 2);
  for (int at = 0; at < 20; ++at) CHECK(placed(some_wish()) == "n2");
  auto large = some_node("n1");
  large.capacity.memory_mb *= 4;
  large.capacity.vcpu *= 4;
  add(large);
  fill("n2", 1);
  for (int at = 0; at < 20; ++at) CHECK(placed(some_wish()) == "n1");
}

TEST_CASE_METHOD(SomeCluster, "load from outside counts", "[placement]") {
  add(2);
  auto busy = some_node("n2");
  busy.outside.memory_mb = 2000;
  add(busy);
  for (int at = 0; at < 20; ++at) CHECK(placed(some_wish()) == "n1");
}

TEST_CASE_METHOD(SomeCluster, "equally loaded nodes share an owner's sandboxes evenly", "[placement]") {
  add(2);
  fill("n1", 3, "ann");
  fill("n2", 3, "bob");
  auto wish = some_wish();
  for (int at = 0; at < 20; ++at) CHECK(placed(wish) == "n2");
  wish.owner = "bob";
  for (int at = 0; at < 20; ++at) CHECK(placed(wish) == "n1");
}

TEST_CASE_METHOD(SomeCluster, "many equal sandboxes spread over the nodes", "[placement]") {
  add(50);
  std::map<std::string, int> counts;
  for (int at = 0; at < 200; ++at) ++counts[start(some_wish(), "sb-" + std::to_string(at)).value().node_id];
  CHECK(counts.size() == 50);
  for (const auto& [node, count] : counts) CHECK(count <= 6);
}

TEST_CASE_METHOD(SomeCluster, "the last node with room is found among a thousand", "[placement]") {
  add(1000);
  for (const auto& node : view.nodes())
    if (node.id != "n777") REQUIRE(view.adopt({"sb-" + node.id, node.id, "ann", node.limit, ""}));
  CHECK(placed(some_wish()) == "n777");
}

TEST_CASE("the same seed places the same", "[placement]") {
  SomeCluster one, two;
  one.add(30);
  two.add(30);
  for (int at = 0; at < 100; ++at) {
    const auto id = "sb-" + std::to_string(at);
    CHECK(one.start(some_wish(), id)->node_id == two.start(some_wish(), id)->node_id);
  }
}
