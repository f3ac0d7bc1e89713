#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/cluster/placement/placement.hpp"
#include "pipeline/sandbox.hpp"

namespace nanobox {

/// What the control plane keeps of a sandbox: its node's last word, and which nodes have yet to end what they have of
/// it.
struct PlacedSandbox {
  Sandbox sandbox;
  bool given_up = false;                    ///< it is no more: of `sandbox` only the id counts
  std::vector<std::string> left_with = {};  ///< nodes that have yet to end it
  std::vector<std::string> copies = {};     ///< nodes that have a copy of its saved state
};

std::string to_record(const PlacedSandbox& placed);
std::optional<PlacedSandbox> placed_sandbox_from_record(std::string_view json);

/// What POST /sandboxes?dry_run=1 answers.
std::string placement_json(const Decision& decision);

}  // namespace nanobox
