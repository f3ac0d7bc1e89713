#pragma once

#include <prometheus/metric_family.h>

#include <initializer_list>
#include <string>
#include <utility>

namespace nanobox {

/// Families of values that are read when somebody asks, not kept: for collectors (Metrics::add). A counter's name ends
/// in "_total"; units are seconds and bytes.
using MetricLabels = std::initializer_list<std::pair<const char*, std::string>>;

inline prometheus::MetricFamily gauge_family(std::string name, std::string help) {
  return {std::move(name), std::move(help), prometheus::MetricType::Gauge, {}};
}

inline prometheus::MetricFamily counter_family(std::string name, std::string help) {
  return {std::move(name), std::move(help), prometheus::MetricType::Counter, {}};
}

/// One more value, under labels that the family does not have yet.
inline void add_value(prometheus::MetricFamily& family, MetricLabels labels, double value) {
  prometheus::ClientMetric metric;
  for (const auto& [name, text] : labels) metric.label.push_back({name, text});
  if (family.type == prometheus::MetricType::Counter)
    metric.counter.value = value;
  else
    metric.gauge.value = value;
  family.metric.push_back(std::move(metric));
}

}  // namespace nanobox
