#include "http/capacity_refusal.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace nanobox::http {

namespace {

constexpr std::size_t kRecentMax = 1'000;
constexpr std::array<std::string_view, 4> kCodes = {"no_capacity", "no_address", "network_unavailable",
                                                    "host_disk_full"};

}  // namespace

std::optional<CapacityRefusal> CapacityRefusals::seen(const ServedRequest& request, Clock::time_point now) {
  if (request.status != 503 && request.status != 429) return std::nullopt;
  CapacityRefusal refusal{.code = std::string(note_of(request, "code")),
                          .detail = std::string(note_of(request, "detail")),
                          .method = std::string(to_string(request.method)),
                          .route = request.route,
                          .owner = request.owner,
                          .subject = request.subject};
  if (request.status == 503 && std::ranges::find(kCodes, refusal.code) == kCodes.end()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const auto [recent, first] = recent_.try_emplace(refusal.owner + " " + refusal.code + " " + refusal.route);
  if (!first && now - recent->second.told < kApart) {
    ++recent->second.more;
    return std::nullopt;
  }
  refusal.more = std::exchange(recent->second.more, 0);
  recent->second.told = now;
  if (recent_.size() > kRecentMax)
    std::erase_if(recent_, [&](const auto& entry) { return now - entry.second.told >= kApart; });
  return refusal;
}

}  // namespace nanobox::http
