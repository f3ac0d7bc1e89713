#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "some_nodes.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

/// What each node holds, summed anew from what the test itself knows.
struct Ledger {
  std::map<std::string, Reservation> held;
  Amounts on(const std::string& node_id) const {
    Amounts sum;
    for (const auto& [id, share] : held)
      if (share.node_id == node_id) sum += share.resources;
    return sum;
  }
};

bool within(const Amounts& sum, const Amounts& limit) {
  return sum.vcpu <= limit.vcpu && sum.memory_mb <= limit.memory_mb && sum.disk_mb <= limit.disk_mb &&
         sum.addresses <= limit.addresses;
}

NodeReport random_node(RandomBits& random, std::string id) {
  auto node = some_node(std::move(id));
  // By its name: a node's capacity stays the same over its heartbeats.
  RandomBits own(std::hash<std::string>{}(node.node_id));
  node.capacity = {.vcpu = 1 + own.below(8),
                   .memory_mb = 512 + own.below(8192),
                   .disk_mb = 2000 + own.below(50'000),
                   .addresses = own.below(30)};
  if (own.below(3) == 0) node.vmms.push_back("firecracker");
  if (own.below(3) == 0) node.cpu_features.push_back("avx512f");
  for (std::uint32_t at = 0; at < 3; ++at) {
    const auto number = std::to_string(at);
    if (random.below(3) == 0) node.rootfs.push_back("rootfs-" + number);
    if (random.below(4) == 0) node.snapshots.push_back("snapshot-" + number);
  }
  return node;
}

Wish random_wish(RandomBits& random, const ClusterView& view) {
  const auto number = std::to_string(random.below(3));
  auto wish = some_wish();
  wish.owner = "owner-" + std::to_string(random.below(4));
  wish.template_key = "key-" + number;
  wish.rootfs_identity = "rootfs-" + number;
  wish.snapshot_key = "snapshot-" + number;
  wish.resources = {.vcpu = 1 + random.below(4),
                    .memory_mb = 64U << random.below(6),
                    .disk_mb = 100 + random.below(8000),
                    .addresses = random.below(2)};
  const auto some_id = [&] { return view.nodes()[random.below(static_cast<std::uint32_t>(view.nodes().size()))].id; };
  if (random.below(5) == 0) wish.vmm = "firecracker";
  if (random.below(5) == 0) wish.cpu_features = {"sse4_2", "avx512f"};
  if (random.below(8) == 0) wish.needs_rootfs = true;
  if (random.below(8) == 0) wish.needs_snapshot = true;
  if (random.below(8) == 0) wish.way = static_cast<BootWay>(1 + random.below(4));
  if (!view.nodes().empty() && random.below(10) == 0) wish.pinned_node = some_id();
  if (!view.nodes().empty() && random.below(10) == 0) wish.group_node = some_id();
  if (!view.nodes().empty() && random.below(4) == 0) wish.excluded_nodes = {some_id(), some_id()};
  return wish;
}

}  // namespace

TEST_CASE("no node ever holds more than its capacity times its factors", "[placement]") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  RandomBits random(seed);
  SomeCluster cluster;
  auto& view = cluster.view;
  Ledger ledger;
  std::size_t placed = 0, refused = 0;
  for (int step = 0; step < 6000; ++step) {
    const auto node_id = "n" + std::to_string(random.below(24));
    const auto action = random.below(100);
    const auto some_share = [&] {
      auto at = ledger.held.begin();
      std::advance(at, random.below(static_cast<std::uint32_t>(ledger.held.size())));
      return at;
    };
    if (action < 10) {
      view.report(random_node(random, node_id));
    } else if (action < 15) {
      static_cast<void>(view.set_state(node_id, static_cast<NodeState>(1 + random.below(4))));
    } else if (action < 22) {
      static_cast<void>(view.set_state(node_id, NodeState::ready));
      static_cast<void>(view.set_cordoned(node_id, random.below(4) == 0));
    } else if (action < 23) {
      for (const auto& id : view.remove(node_id)) REQUIRE(ledger.held.erase(id) == 1);
      REQUIRE(ledger.on(node_id) == Amounts{});
    } else if (action < 40 && !ledger.held.empty()) {
      const auto share = some_share();
      view.release(share->first);
      ledger.held.erase(share);
    } else if (action < 50 && !ledger.held.empty()) {
      REQUIRE(view.confirm(some_share()->first));
    } else {
      const auto wish = random_wish(random, view);
      const auto decision = place(view, wish, random);
      const auto all = verdicts(view, wish);
      if (!decision) {
        ++refused;
        // A refusal is never wrong.
        for (const auto& verdict : all) REQUIRE_FALSE(verdict.fits);
        continue;
      }
      ++placed;
      for (const auto& verdict : all)
        if (verdict.node_id == decision->node_id) REQUIRE(verdict.fits);
      const auto id = "sb-" + std::to_string(step);
      const auto reservation = reservation_for(wish, *decision, id);
      REQUIRE(view.reserve(reservation));
      ledger.held.emplace(id, reservation);
    }
    for (const auto& node : view.nodes()) {
      const auto sum = ledger.on(node.id);
      REQUIRE(node.occupied == sum);
      REQUIRE(node.used + node.reserved == sum);
      REQUIRE(within(sum, node.limit));
    }
    REQUIRE(view.shares() == ledger.held.size());
  }
  CHECK(placed > 300);
  CHECK(refused > 30);
}
