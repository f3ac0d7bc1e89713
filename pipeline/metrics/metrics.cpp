#include "pipeline/metrics/metrics.hpp"

#include <prometheus/text_serializer.h>

#include <algorithm>

#include "pipeline/metrics/family.hpp"
#include "pipeline/metrics/process_families.hpp"

namespace nanobox {

Metrics::Metrics(std::string version) : version_(std::move(version)) {
  add(process_families);
}

void Metrics::add(Collector collector) {
  const std::lock_guard lock(mutex_);
  collectors_.push_back(std::move(collector));
}

std::string Metrics::text() const {
  auto families = registry_.Collect();
  auto build = gauge_family("nanobox_build_info", "Always 1; which version this is.");
  add_value(build, {{"version", version_}}, 1);
  families.push_back(std::move(build));
  auto active = gauge_family("nanobox_pipeline_runs_active", "Runs of pipelines that have not ended.");
  for (const auto& [pipeline, count] : runs_.active())
    add_value(active, {{"pipeline", pipeline}}, static_cast<double>(count));
  families.push_back(std::move(active));
  std::vector<Collector> collectors;
  {
    const std::lock_guard lock(mutex_);
    collectors = collectors_;
  }
  for (const auto& collect : collectors)
    for (auto& family : collect()) families.push_back(std::move(family));
  std::erase_if(families, [](const auto& family) { return family.metric.empty(); });
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace nanobox
