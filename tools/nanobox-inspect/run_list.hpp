#pragma once

#include <vector>

#include "tools/nanobox-inspect/grid.hpp"
#include "tools/nanobox-inspect/run_view.hpp"

namespace nanobox::inspection {

/// Runs as a table; the node only where they ran on several.
/// @param selected  marked, where it is an index
Grid run_list(const std::vector<RunView>& runs, std::int64_t now_us, std::size_t selected = ~std::size_t{0});

/// Where a run is or why it failed, in a few words: "pull 45 %", "vm: vmm_failed".
std::string where_text(const RunView& run);

}  // namespace nanobox::inspection
