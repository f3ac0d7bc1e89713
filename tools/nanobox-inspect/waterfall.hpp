#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/nanobox-inspect/run_view.hpp"
#include "tools/nanobox-inspect/style.hpp"

namespace nanobox::inspection {

/// A bar `columns` wide of which [start, start + length) of `total` is drawn; at least a sliver of what is no more
/// than that. All in the same unit.
std::string bar(Style style, std::int64_t start, std::int64_t length, std::int64_t total, std::size_t columns);

/// A run for the terminal: what it is, its stages with bars on one scale, what there is to say of each, and why it
/// failed. @param columns  the terminal's; every line fits
std::vector<std::string> waterfall(Style style, const RunView& run, std::size_t columns, std::int64_t now_us);

}  // namespace nanobox::inspection
