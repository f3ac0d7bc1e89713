#include "actors/cluster/node_meter.hpp"

#include "pipeline/store/node_store.hpp"

namespace nanobox {

namespace {

/// Of a template's key, "owner/name".
void set_template(MeteredVmm& vmm, const std::string& key) {
  const auto slash = key.rfind('/');
  vmm.owner = key.substr(0, slash);
  vmm.template_name = key.substr(slash + 1);
}

}  // namespace

Result<std::vector<TemplateUsage>> measure_vmms(const Services& services, const PoolVms& pool_vms, VmmMeter& meter,
                                                const std::vector<SandboxDeath>& ended) {
  std::vector<MeteredVmm> vmms;
  for (const auto& row : NANOBOX_TRY(services.node_store->vms())) {
    const auto identity = vm_identity_from_json(row.identity);
    if (!identity) continue;
    MeteredVmm vmm{.vm_id = row.sandbox_id,
                   .pid = identity->pid,
                   .start_time_ticks = identity->start_time_ticks,
                   .owner = {},
                   .template_name = {}};
    if (const auto sandbox = services.boards->sandboxes.find(row.sandbox_id)) {
      vmm.owner = sandbox->owner;
      vmm.template_name = sandbox->template_name;
    } else if (const auto key = pool_vms.find(row.sandbox_id)) {
      set_template(vmm, *key);
    }
    vmms.push_back(std::move(vmm));
  }
  return largest(meter.measure(vmms, ended), kUsageMax);
}

}  // namespace nanobox
