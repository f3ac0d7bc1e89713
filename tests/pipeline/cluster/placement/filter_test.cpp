#include <catch2/catch.hpp>

#include "some_nodes.hpp"

using namespace nanobox;
using namespace nanobox::test;

TEST_CASE_METHOD(SomeCluster, "only ready nodes get sandboxes", "[placement]") {
  add(4);
  REQUIRE(view.set_state("n1", NodeState::draining));
  REQUIRE(view.set_state("n2", NodeState::unready));
  REQUIRE(view.set_state("n3", NodeState::lost));
  for (int at = 0; at < 20; ++at) CHECK(placed(some_wish()) == "n4");
  REQUIRE(view.set_cordoned("n4", true));
  const auto error = refused(some_wish());
  CHECK(error.code == ErrorCode::no_capacity);
  CHECK(error.retry_after_sec == 1);
  CHECK(error.reason == "4 nodes: 1 lost, 1 unready, 1 draining, 1 cordoned");
  REQUIRE(view.set_state("n2", NodeState::ready));
  CHECK(placed(some_wish()) == "n2");
  REQUIRE(view.set_cordoned("n4", false));
  REQUIRE(view.set_state("n2", NodeState::lost));
  CHECK(placed(some_wish()) == "n4");
}

TEST_CASE_METHOD(SomeCluster, "what is pinned to a cordoned node comes back there, to a draining one not",
                 "[placement]") {
  add(3);
  auto wish = some_wish();
  wish.pinned_node = "n2";
  REQUIRE(view.set_cordoned("n2", true));
  CHECK(placed(wish) == "n2");
  REQUIRE(view.set_state("n2", NodeState::draining));
  CHECK(refused(wish).code == ErrorCode::no_capacity);
  CHECK(refused(wish).reason == "it must run there: draining");
  REQUIRE(view.set_state("n2", NodeState::lost));
  CHECK(refused(wish).code == ErrorCode::node_lost);
  view.remove("n2");
  CHECK(refused(wish).code == ErrorCode::node_not_found);
}

TEST_CASE_METHOD(SomeCluster, "a network group stays on its node, even when that is full", "[placement]") {
  add(3);
  auto wish = some_wish();
  wish.group_node = "n3";
  CHECK(placed(wish) == "n3");
  fill("n3", 8);
  CHECK(refused(wish).reason == "it must run there: full: memory 4096 of 4096, 512 more wanted");
  CHECK(refused(wish).retry_after_sec == 1);
  wish.pinned_node = "n1";
  CHECK(refused(wish).reason ==
        "it must run there: its network group is on n3, which has no overlay ([cluster] overlay_iface)");
}

TEST_CASE_METHOD(SomeCluster, "a network group that spans nodes stays on those with an overlay", "[placement]") {
  add(3);
  auto with = some_node("n2");
  with.has_overlay = true;
  add(with);
  auto wish = some_wish();
  wish.needs_overlay = true;
  CHECK(placed(wish) == "n2");
  fill("n2", 8);
  CHECK(refused(wish).code == ErrorCode::no_capacity);
  const auto reason = refused(wish).reason;
  CHECK(reason.find("2 without an overlay") != std::string::npos);
  CHECK(reason.find("1 full (memory)") != std::string::npos);
}

TEST_CASE_METHOD(SomeCluster, "each amount fills a node up to its capacity times the factor", "[placement]") {
  auto node = some_node("n1");
  const auto [only, fit] = GENERATE(table<std::string, int>(
      {{"vcpu", 8 * 2}, {"memory", 20}, {"disk", 4 * 5}, {"addresses", 3}, {"half the memory", 10}}));
  node.capacity = {.vcpu = 1000, .memory_mb = 1'000'000, .disk_mb = 1'000'000, .addresses = 1000};
  if (only == "vcpu") node.capacity.vcpu = 2;
  if (only == "memory" || only == "half the memory") node.capacity.memory_mb = 20 * kSmall.memory_mb + 511;
  if (only == "half the memory") node.overcommit.memory = 0.5;
  if (only == "disk") node.capacity.disk_mb = 5 * kSmall.disk_mb;
  if (only == "addresses") node.capacity.addresses = 3;
  add(node);
  int count = 0;
  while (start(some_wish(), "sb-" + std::to_string(count))) ++count;
  CHECK(count == fit);
  const auto name = only == "half the memory" ? "memory" : only;
  CHECK(refused(some_wish()).reason == "1 node: 1 full (" + name + ")");
}

TEST_CASE_METHOD(SomeCluster, "what takes no address needs none", "[placement]") {
  auto node = some_node("n1");
  node.capacity.addresses = 0;
  add(node);
  auto wish = some_wish();
  CHECK(refused(wish).reason == "no node can ever take it. 1 node: 1 too small (addresses)");
  wish.resources.addresses = 0;
  CHECK(placed(wish) == "n1");
}

TEST_CASE_METHOD(SomeCluster, "a node must have the VMM and all CPU features", "[placement]") {
  add(2);
  auto other = some_node("n3");
  other.vmms = {"qemu-tcg", "firecracker"};
  other.cpu_features = {"sse4_2", "avx512f", "avx2"};
  add(other);
  auto wish = some_wish();
  wish.vmm = "firecracker";
  CHECK(placed(wish) == "n3");
  wish.vmm = "";
  wish.cpu_features = {"avx512f", "avx2"};
  CHECK(placed(wish) == "n3");
  wish.cpu_features = {"amx"};
  CHECK(refused(wish).reason == "no node can ever take it. 3 nodes: 3 without the CPU features amx");
  wish.cpu_features = {};
  wish.vmm = "qemu-kvm";
  CHECK(refused(wish).reason == "no node can ever take it. 3 nodes: 3 without qemu-kvm");
  CHECK(refused(wish).retry_after_sec == 0);
  other.vmms = {"qemu-kvm"};
  add(other);
  CHECK(placed(wish) == "n3");
}

TEST_CASE_METHOD(SomeCluster, "what can be fetched from nowhere must be there", "[placement]") {
  add(3);
  auto wish = some_wish();
  wish.needs_rootfs = true;
  CHECK(refused(wish).reason == "3 nodes: 3 without the template");
  auto node = some_node("n2");
  node.rootfs = {"rootfs-0", "rootfs-1"};
  add(node);
  CHECK(placed(wish) == "n2");
  wish.needs_snapshot = true;
  CHECK(refused(wish).reason == "3 nodes: 2 without the template, 1 without the snapshot");
  node.snapshots = {"snapshot-1"};
  add(node);
  CHECK(placed(wish) == "n2");
}

TEST_CASE_METHOD(SomeCluster, "who insists on the pool goes where a member of the size is, or nowhere", "[placement]") {
  add(3);
  auto wish = some_wish();
  wish.way = BootWay::pool;
  CHECK(refused(wish).code == ErrorCode::boot_path_unavailable);
  auto node = some_node("n2");
  node.pools["ann/python"] = {.ready = 1, .each = kSmall};
  add(node);
  CHECK(placed(wish) == "n2");
  wish.resources.memory_mb *= 2;
  CHECK(refused(wish).code == ErrorCode::boot_path_unavailable);
  wish.way = BootWay::automatic;
  CHECK(place(view, wish, random)->warmth == Warmth::nothing);
}

TEST_CASE_METHOD(SomeCluster, "after a failed boot another node is tried, until none is left", "[placement]") {
  add(3);
  auto wish = some_wish();
  for (int at = 0; at < 3; ++at) {
    const auto node = placed(wish);
    CHECK(std::find(wish.excluded_nodes.begin(), wish.excluded_nodes.end(), node) == wish.excluded_nodes.end());
    wish.excluded_nodes.push_back(node);
  }
  CHECK(refused(wish).reason == "3 nodes: 3 excluded after a failed boot");
  wish.excluded_nodes = {"gone"};
  CHECK(place(view, wish, random));
}

TEST_CASE_METHOD(SomeCluster, "what is bigger than every node is told so at once", "[placement]") {
  add(2);
  REQUIRE(view.set_state("n1", NodeState::draining));
  fill("n2", 8);
  auto wish = some_wish();
  wish.resources.memory_mb = 4096;
  CHECK(refused(wish).retry_after_sec == 1);
  CHECK(refused(wish).transient);
  wish.resources.memory_mb = 4097;
  wish.resources.vcpu = 33;
  const auto error = refused(wish);
  CHECK(error.code == ErrorCode::no_capacity);
  CHECK(error.reason == "no node can ever take it. 2 nodes: 2 too small (vcpu, memory)");
  CHECK(error.retry_after_sec == 0);
  CHECK_FALSE(error.transient);
}

TEST_CASE_METHOD(SomeCluster, "without nodes a sandbox can only wait", "[placement]") {
  const auto error = refused(some_wish());
  CHECK(error.code == ErrorCode::no_capacity);
  CHECK(error.reason == "the cluster has no node");
  CHECK(error.retry_after_sec == 1);
}
