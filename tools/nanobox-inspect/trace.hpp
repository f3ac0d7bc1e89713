#pragma once

#include <string>
#include <vector>

#include "tools/nanobox-inspect/run_view.hpp"

namespace nanobox::inspection {

/// Runs as a trace for Perfetto or chrome://tracing (Trace Event Format, JSON object form): a process for each node, in
/// it threads for each pipeline, as many as its runs overlap; a slice for each run, in it one for each stage.
std::string chrome_trace(const std::vector<RunView>& runs);

}  // namespace nanobox::inspection
