#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/nanobox-inspect/comparison.hpp"
#include "tools/nanobox-inspect/stage_stats.hpp"
#include "tools/nanobox-inspect/top_frame.hpp"
#include "tools/nanobox/json.hpp"

namespace nanobox::inspection {

/// {"since","runs","items":[{"pipeline","stage","count","p50_us",…}]}
std::string hotspots_json(std::int64_t since_us, std::size_t runs, const std::vector<StageStats>& stats);

/// {"slower":true,"items":[{"pipeline","stage","a":{"count","p50_us","p95_us"},"b":{…},"slower_us","ratio"}]}
std::string comparison_json(bool is_slower, const std::vector<StageChange>& changes);

/// One frame of `top`: {"time","window_sec","runs":{…},"stages":[…],"actors":[…]|null,"nodes":[…],"pools":[…]}
std::string top_json(const TopData& data, const TopState& state);

}  // namespace nanobox::inspection
