#pragma once

#include <cstdint>
#include <vector>

namespace nanobox::inspection {

/// A time on a lane, [from, until).
struct Interval {
  std::int64_t from = 0;
  std::int64_t until = 0;
};

/// Lanes on which nothing overlaps: each gets the first run of `lanes` free ones in a row.
class LaneBook {
public:
  /// Intervals must come with ascending `from`. @returns the first of its lanes
  std::size_t take(Interval interval, std::size_t lanes);
  std::size_t lanes() const { return busy_until_.size(); }

private:
  std::vector<std::int64_t> busy_until_;
};

/// The lane of each interval, as few lanes as it takes.
std::vector<std::size_t> assign_lanes(const std::vector<Interval>& ascending);

}  // namespace nanobox::inspection
