#include "pipeline/boot/network/dns/rate_limit.hpp"

#include <algorithm>

namespace nanobox {

bool RateLimit::take(std::uint32_t client, Time now) {
  if (buckets_.size() >= forget_at_) forget_full(now);
  auto& bucket = buckets_.try_emplace(client, Bucket{burst_, now}).first->second;
  bucket = {after(bucket, now), now};
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

double RateLimit::after(const Bucket& bucket, Time now) const {
  const std::chrono::duration<double> passed = now - bucket.at;
  return std::min(burst_, bucket.tokens + per_second_ * passed.count());
}

void RateLimit::forget_full(Time now) {
  std::erase_if(buckets_, [&](const auto& one) { return after(one.second, now) >= burst_; });
  forget_at_ = std::max<std::size_t>(1024, buckets_.size() * 2);
}

}  // namespace nanobox
