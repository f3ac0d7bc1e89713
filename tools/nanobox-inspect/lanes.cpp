#include "tools/nanobox-inspect/lanes.hpp"

#include <algorithm>
#include <limits>

namespace nanobox::inspection {

std::size_t LaneBook::take(Interval interval, std::size_t lanes) {
  std::size_t first = 0;
  const auto is_free = [&](std::size_t lane) {
    return lane >= busy_until_.size() || busy_until_[lane] <= interval.from;
  };
  for (std::size_t lane = 0; lane < first + lanes; ++lane)
    if (!is_free(lane)) first = lane + 1;
  busy_until_.resize(std::max(busy_until_.size(), first + lanes), std::numeric_limits<std::int64_t>::min());
  std::fill_n(busy_until_.begin() + static_cast<std::ptrdiff_t>(first), lanes, interval.until);
  return first;
}

std::vector<std::size_t> assign_lanes(const std::vector<Interval>& ascending) {
  LaneBook book;
  std::vector<std::size_t> lanes;
  for (const auto& interval : ascending) lanes.push_back(book.take(interval, 1));
  return lanes;
}

}  // namespace nanobox::inspection
