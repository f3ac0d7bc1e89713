#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <map>
#include <string>
#include <string_view>

namespace nanobox {

/// Where a span of time is counted, in seconds: from what a step inside a boot takes to what a warmup does.
inline const prometheus::Histogram::BucketBoundaries kSpanBuckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                                     0.5,   1,      2.5,   5,    10,    30,   60,  120};

/// The series of a family by the values of its N labels, found again without making a set of labels. Not thread-safe:
/// its holder's lock guards it.
template <class Metric, std::size_t N>
class Series {
public:
  Series(prometheus::Registry& registry, const std::string& name, const std::string& help,
         std::array<const char*, N> labels)
      : family_(build(registry, name, help)), labels_(labels) {}

  Metric& operator()(const std::array<std::string_view, N>& values) {
    key_.clear();
    for (const auto value : values) (key_ += value) += '\0';
    const auto found = known_.find(key_);
    if (found != known_.end()) return *found->second;
    prometheus::Labels labels;
    for (std::size_t i = 0; i < N; ++i) labels.emplace(labels_[i], values[i]);
    return *known_.emplace(key_, &make(labels)).first->second;
  }

private:
  static prometheus::Family<Metric>& build(prometheus::Registry& registry, const std::string& name,
                                           const std::string& help) {
    if constexpr (std::is_same_v<Metric, prometheus::Histogram>)
      return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
    else
      return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
  }
  Metric& make(const prometheus::Labels& labels) {
    if constexpr (std::is_same_v<Metric, prometheus::Histogram>)
      return family_.Add(labels, kSpanBuckets);
    else
      return family_.Add(labels);
  }

  prometheus::Family<Metric>& family_;
  const std::array<const char*, N> labels_;
  std::string key_;
  std::map<std::string, Metric*> known_;
};

}  // namespace nanobox
