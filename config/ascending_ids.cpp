#include "config/ascending_ids.hpp"

#include <algorithm>

#include "config/id.hpp"

namespace nanobox {

namespace {
constexpr std::string_view kDigits = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::size_t kTimeDigits = 10;
constexpr std::size_t kRandomDigits = 16;
}  // namespace

std::string AscendingIds::next() {
  auto id = make_id(prefix_);
  const std::lock_guard lock(mutex_);
  if (id <= last_) id = id_behind(last_);
  last_ = id;
  return id;
}

std::string id_behind(std::string id) {
  const auto begin = id.rfind('-') + 1;
  for (auto at = id.size(); at-- > begin;) {
    const auto digit = kDigits.find(id[at]);
    if (digit + 1 < kDigits.size()) {
      id[at] = kDigits[digit + 1];
      std::fill(id.begin() + static_cast<std::ptrdiff_t>(at) + 1, id.end(), kDigits.front());
      return id;
    }
  }
  return id;
}

std::string least_id_at(std::string_view prefix, WallTime time) {
  auto milliseconds = static_cast<std::uint64_t>(std::max<std::int64_t>(time.time_since_epoch().count(), 0));
  std::string digits(kTimeDigits, '0');
  for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit, milliseconds >>= 5)
    *digit = kDigits[milliseconds & 31];
  return std::string(prefix) + "-" + digits + std::string(kRandomDigits, '0');
}

}  // namespace nanobox
