#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "pipeline/cluster/placement/cluster_view.hpp"
#include "pipeline/cluster/placement/random_bits.hpp"
#include "pipeline/cluster/placement/verdicts.hpp"
#include "pipeline/cluster/placement/wish.hpp"

namespace nanobox {

/// Whether a decision comes with its reasons: for `?dry_run=1`, as it looks at every node.
enum class Explain : std::uint8_t { no, yes };

struct Decision {
  std::string node_id;
  Warmth warmth = Warmth::nothing;    ///< of `pool`, the reservation takes a member
  double load = 0;                    ///< of the node with this sandbox (see load_of)
  std::vector<std::string> score;     ///< why this node, the weightiest first; empty unless asked for
  std::vector<NodeVerdict> verdicts;  ///< of every other node; empty unless asked for
};

/// Where a sandbox goes. Of the nodes that can take it those with the greatest warmth; of two random ones of these the
/// less loaded; of two that are equally loaded (within 1 %) the one with fewer sandboxes of the owner. Reserves
/// nothing.
/// @errors no_capacity: none fits; with `retry_after_sec` 1, or 0 where none ever will · node_not_found, node_lost: the
/// node where it must be is not there · boot_path_unavailable: way `pool`, and there is no member
Result<Decision> place(const ClusterView& view, const Wish& wish, RandomBits& random, Explain explain = Explain::no);

/// What `ClusterView::reserve` is to be asked for after `place`.
Reservation reservation_for(const Wish& wish, const Decision& decision, std::string sandbox_id);

}  // namespace nanobox
