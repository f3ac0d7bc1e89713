#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

namespace nanobox {

/// A bucket of tokens for each client: `burst` at once, then `per_second`.
class RateLimit {
public:
  using Time = std::chrono::steady_clock::time_point;
  RateLimit(double per_second, double burst) : per_second_(per_second), burst_(burst) {}

  /// Takes a token of the client's, if there is one.
  bool take(std::uint32_t client, Time now);
  std::size_t size() const { return buckets_.size(); }

private:
  struct Bucket {
    double tokens;
    Time at;
  };
  double after(const Bucket& bucket, Time now) const;
  void forget_full(Time now);

  double per_second_, burst_;
  std::size_t forget_at_ = 1024;
  std::unordered_map<std::uint32_t, Bucket> buckets_;
};

}  // namespace nanobox
