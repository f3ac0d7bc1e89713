#include "pipeline/cluster/placement/placement.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "pipeline/cluster/placement/obstacle.hpp"

namespace nanobox {
namespace {

using Slot = ClusterView::Slot;

std::uint32_t sandboxes_of(const NodeView& node, const std::string& owner) {
  const auto count = node.sandboxes_by_owner.find(owner);
  return count == node.sandboxes_by_owner.end() ? 0 : count->second;
}

/// Up to two different ones of `slots` that fit, each pair as likely as any other.
struct Candidates {
  std::array<Slot, 2> slots{};
  std::uint32_t count = 0;
};

template <class Fits>
Candidates draw_two(std::span<const Slot> slots, RandomBits& random, const Fits& fits) {
  constexpr std::size_t kTries = 8;
  Candidates drawn;
  if (slots.size() > kTries) {
    for (std::size_t at = 0; at < kTries && drawn.count < 2; ++at) {
      const Slot slot = slots[random.below(static_cast<std::uint32_t>(slots.size()))];
      const bool again = drawn.count == 1 && slot == drawn.slots[0];
      if (!again && fits(slot)) drawn.slots[drawn.count++] = slot;
    }
    if (drawn.count == 2) return drawn;
  }
  // Most are full: all are looked at, and two of those that fit kept, as a reservoir does.
  std::uint32_t fitting = 0;
  for (const Slot slot : slots) {
    if (!fits(slot)) continue;
    ++fitting;
    const auto at = fitting <= 2 ? fitting - 1 : random.below(fitting);
    if (at < 2) drawn.slots[at] = slot;
  }
  drawn.count = std::min(fitting, 2U);
  return drawn;
}

Draw better_first(const ClusterView& view, const Wish& wish, const Candidates& drawn) {
  if (drawn.count == 1) return {.chosen = drawn.slots[0], .other = {}, .by_spread = false};
  constexpr double kEqualLoad = 0.01;
  const auto& first = view.nodes()[drawn.slots[0]];
  const auto& second = view.nodes()[drawn.slots[1]];
  const double more = load_of(second, wish.resources) - load_of(first, wish.resources);
  const auto owned_first = sandboxes_of(first, wish.owner), owned_second = sandboxes_of(second, wish.owner);
  const bool by_spread = std::abs(more) < kEqualLoad && owned_first != owned_second;
  const bool is_first = by_spread ? owned_first < owned_second : more >= 0;
  return {.chosen = drawn.slots[is_first ? 0 : 1], .other = drawn.slots[is_first ? 1 : 0], .by_spread = by_spread};
}

std::optional<Draw> choose(const ClusterView& view, const Wish& wish, RandomBits& random) {
  Filter filter(view, wish);
  const auto& nodes = view.nodes();
  if (const auto& only = wish.pinned_node.empty() ? wish.group_node : wish.pinned_node; !only.empty()) {
    const auto* const node = view.find(only);
    if (!node || filter.obstacle(*node)) return {};
    return Draw{.chosen = static_cast<Slot>(node - nodes.data()), .other = {}, .by_spread = false};
  }
  const std::span<const Slot> none;
  const bool takes_member = wish.way == BootWay::automatic || wish.way == BootWay::pool;
  // A node of a warmer class that does not fit is passed over again in the colder: cheaper than to take it out.
  const std::array<std::pair<Warmth, std::span<const Slot>>, 4> classes{{
      {Warmth::pool, takes_member ? view.with_pool(wish.template_key) : none},
      {Warmth::snapshot, wish.way != BootWay::cold ? view.with_snapshot(wish.snapshot_key) : none},
      {Warmth::rootfs, view.with_rootfs(wish.rootfs_identity)},
      {Warmth::nothing, view.open()},
  }};
  for (const auto& [warmth, slots] : classes) {
    const bool is_pool = warmth == Warmth::pool;
    const auto drawn = draw_two(slots, random, [&](Slot slot) {
      const auto& node = nodes[slot];
      return filter.fits(node) && (!is_pool || filter.warmth(node) == Warmth::pool);
    });
    if (drawn.count > 0) return better_first(view, wish, drawn);
  }
  return {};
}

}  // namespace

Result<Decision> place(const ClusterView& view, const Wish& wish, RandomBits& random, Explain explain) {
  const auto draw = choose(view, wish, random);
  if (!draw) return fail(none_fits(view, wish));
  const auto& node = view.nodes()[draw->chosen];
  Decision decision{.node_id = node.id,
                    .warmth = Filter(view, wish).warmth(node),
                    .load = load_of(node, wish.resources),
                    .score = {},
                    .verdicts = {}};
  if (explain == Explain::yes) {
    decision.score = score_of(view, wish, *draw);
    decision.verdicts = verdicts(view, wish, draw);
  }
  return decision;
}

Reservation reservation_for(const Wish& wish, const Decision& decision, std::string sandbox_id) {
  return {.sandbox_id = std::move(sandbox_id),
          .node_id = decision.node_id,
          .owner = wish.owner,
          .resources = wish.resources,
          .from_pool = decision.warmth == Warmth::pool ? wish.template_key : ""};
}

}  // namespace nanobox
