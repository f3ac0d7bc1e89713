#pragma once

#include <chrono>
#include <mutex>
#include <string_view>

#include "pipeline/metrics/series.hpp"

namespace nanobox {

/// A request of the REST API that is over, as far as it is counted.
struct CountedRequest {
  std::string_view route;  ///< the pattern; empty: no such route
  std::string_view method;
  int status = 0;         ///< 0: the client went before an answer
  bool streamed = false;  ///< lasts as long as the client likes
  std::chrono::microseconds duration{0};
};

/// Counts requests. Thread-safe.
class RequestMetrics {
public:
  explicit RequestMetrics(prometheus::Registry& registry);
  void take(const CountedRequest& request);

private:
  std::mutex mutex_;
  Series<prometheus::Counter, 3> requests_;
  Series<prometheus::Histogram, 2> durations_;
  Series<prometheus::Histogram, 0> exec_durations_;
};

}  // namespace nanobox
