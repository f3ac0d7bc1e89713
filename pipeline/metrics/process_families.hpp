#pragma once

#include <prometheus/metric_family.h>

#include <vector>

namespace nanobox {

/// This process, under the names that all programs have in common. Reads some files of /proc.
std::vector<prometheus::MetricFamily> process_families();

}  // namespace nanobox
