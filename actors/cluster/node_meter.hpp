#pragma once

#include <vector>

#include "actors/services.hpp"
#include "pipeline/insight/pool_vms.hpp"
#include "pipeline/insight/vmm_meter.hpp"

namespace nanobox {

/// So many templates a node tells the usage of.
inline constexpr std::size_t kUsageMax = 256;

/// What the VMMs of this node take by template: those of sandboxes, pools and stock. Blocking: reads the node's store
/// and /proc.
Result<std::vector<TemplateUsage>> measure_vmms(const Services& services, const PoolVms& pool_vms, VmmMeter& meter,
                                                const std::vector<SandboxDeath>& ended);

}  // namespace nanobox
