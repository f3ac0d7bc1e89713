#include "pipeline/cluster/placement/verdicts.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "pipeline/cluster/placement/obstacle.hpp"

namespace nanobox {
namespace {

std::string percent(double part) {
  return std::to_string(std::lround(part * 100)) + " %";
}

std::string_view words_for(Warmth warmth) {
  switch (warmth) {
    case Warmth::pool:
      return "a pool member";
    case Warmth::snapshot:
      return "the snapshot";
    case Warmth::rootfs:
      return "the template";
    case Warmth::nothing:
      return "nothing of it";
  }
  return "";
}

std::string sandboxes_of(const NodeView& node, const std::string& owner) {
  const auto count = node.sandboxes_by_owner.find(owner);
  return std::to_string(count == node.sandboxes_by_owner.end() ? 0 : count->second);
}

/// Nodes by what stands against them: "3 nodes: 2 full (memory), 1 draining".
template <class ObstacleOf>
std::string counted(const ClusterView& view, const Wish& wish, const ObstacleOf& obstacle_of) {
  constexpr std::size_t kKinds = static_cast<std::size_t>(ObstacleKind::full) + 1, kBits = 1U << amount_names.size();
  std::array<std::array<std::size_t, kBits>, kKinds> counts{};
  for (const auto& node : view.nodes()) {
    const Obstacle obstacle = obstacle_of(node);
    ++counts[static_cast<std::size_t>(obstacle.kind)][obstacle.short_of];
  }
  std::vector<std::pair<std::size_t, Obstacle>> found;
  for (std::size_t kind = 0; kind < kKinds; ++kind)
    for (std::size_t bits = 0; bits < kBits; ++bits)
      if (counts[kind][bits] > 0)
        found.push_back(
            {counts[kind][bits], {.kind = static_cast<ObstacleKind>(kind), .short_of = static_cast<AmountBits>(bits)}});
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  const auto all = view.nodes().size();
  std::string words = std::to_string(all) + (all == 1 ? " node: " : " nodes: ");
  for (std::size_t at = 0; at < found.size(); ++at)
    words.append(at == 0 ? "" : ", ")
        .append(std::to_string(found[at].first))
        .append(" ")
        .append(to_string(found[at].second, wish));
  return words;
}

/// Where it must be on one node.
Error not_there(const ClusterView& view, const Wish& wish, const std::string& only) {
  Error error{.code = ErrorCode::no_capacity,
              .attempted = "place a sandbox",
              .subject = only,
              .reason = "",
              .mend = "try again",
              .transient = true,
              .retry_after_sec = 1};
  const auto* const node = view.find(only);
  if (!node) {
    error.code = ErrorCode::node_not_found;
    error.reason = "it must run there, and the cluster has no such node";
    error.mend = "see GET /nodes";
    error.transient = false;
    error.retry_after_sec = 0;
    return error;
  }
  Filter filter(view, wish);
  if (node->state == NodeState::lost) error.code = ErrorCode::node_lost;
  error.reason = "it must run there: " + describe(filter.obstacle(*node), *node, wish);
  if (filter.lasting_obstacle(*node)) {
    error.mend = "ask for less, or for what that node has";
    error.transient = false;
    error.retry_after_sec = 0;
  }
  return error;
}

}  // namespace

std::vector<NodeVerdict> verdicts(const ClusterView& view, const Wish& wish, const std::optional<Draw>& draw) {
  Filter filter(view, wish);
  const auto* const chosen = draw ? &view.nodes()[draw->chosen] : nullptr;
  std::vector<NodeVerdict> found;
  for (const auto& node : view.nodes()) {
    if (&node == chosen) continue;
    auto& verdict = found.emplace_back(NodeVerdict{.node_id = node.id, .fits = true, .why = "fits"});
    if (const auto obstacle = filter.obstacle(node)) {
      verdict.fits = false;
      verdict.why = describe(obstacle, node, wish);
    } else if (!chosen) {
      continue;
    } else if (const auto warmth = filter.warmth(node), wanted = filter.warmth(*chosen); warmth != wanted) {
      verdict.why = "has " + std::string(words_for(warmth)) + ", the chosen one " + std::string(words_for(wanted));
    } else if (!draw->other || &view.nodes()[*draw->other] != &node) {
      verdict.why = "would do, was not drawn";
    } else if (draw->by_spread) {
      verdict.why = "drawn too, has more sandboxes of the owner: " + sandboxes_of(node, wish.owner) + " against " +
                    sandboxes_of(*chosen, wish.owner);
    } else {
      verdict.why = "drawn too, not less loaded: " + percent(load_of(node, wish.resources)) + " against " +
                    percent(load_of(*chosen, wish.resources));
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.node_id < b.node_id; });
  return found;
}

std::vector<std::string> score_of(const ClusterView& view, const Wish& wish, const Draw& draw) {
  const auto& node = view.nodes()[draw.chosen];
  std::vector<std::string> score;
  if (!wish.pinned_node.empty()) score.push_back("it is pinned there");
  if (!wish.group_node.empty()) score.push_back("its network group is there, and it has no overlay to other nodes");
  if (wish.needs_overlay) score.push_back("has an overlay, by which its network group spans nodes");
  score.push_back("has " + std::string(words_for(Filter(view, wish).warmth(node))));
  const auto load = percent(load_of(node, wish.resources));
  if (!draw.other) {
    score.push_back("load " + load + ", no other to compare");
    return score;
  }
  const auto& other = view.nodes()[*draw.other];
  const auto against = percent(load_of(other, wish.resources));
  const auto owned = sandboxes_of(node, wish.owner), owned_other = sandboxes_of(other, wish.owner);
  score.push_back("load of two drawn: " + load + " against " + against);
  score.push_back("sandboxes of the owner: " + owned + " against " + owned_other);
  return score;
}

Error none_fits(const ClusterView& view, const Wish& wish) {
  if (const auto& only = wish.pinned_node.empty() ? wish.group_node : wish.pinned_node; !only.empty())
    return not_there(view, wish, only);
  Filter filter(view, wish);
  Error error{.code = ErrorCode::no_capacity,
              .attempted = "place a sandbox",
              .subject = "",
              .reason = "the cluster has no node",
              .mend = "try again, end other sandboxes or add a node",
              .transient = true,
              .retry_after_sec = 1};
  const auto& nodes = view.nodes();
  if (nodes.empty()) return error;
  if (std::all_of(nodes.begin(), nodes.end(), [&](const auto& node) { return bool{filter.lasting_obstacle(node)}; })) {
    error.reason = "no node can ever take it. " +
                   counted(view, wish, [&](const auto& node) { return filter.lasting_obstacle(node); });
    error.mend = "ask for less, or add a node that can";
    error.transient = false;
    error.retry_after_sec = 0;
    return error;
  }
  error.reason = counted(view, wish, [&](const auto& node) { return filter.obstacle(node); });
  const auto has_member = [&](const auto& node) { return filter.warmth(node) == Warmth::pool; };
  if (wish.way == BootWay::pool && std::none_of(nodes.begin(), nodes.end(), has_member)) {
    error.code = ErrorCode::boot_path_unavailable;
    error.mend = "boot it another way, or wait until the pool is filled";
  }
  return error;
}

}  // namespace nanobox
