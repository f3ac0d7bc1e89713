#include "actors/network_keeper.hpp"

#include <fcntl.h>

#include "actors/record_tables.hpp"
#include "config/log.hpp"
#include "pipeline/boot/network/ipv4_ranges.hpp"
#include "pipeline/boot/vmm/proc_identity.hpp"
#include "pipeline/cluster/group_members.hpp"
#include "pipeline/store/node_store.hpp"
#include "pipeline/store/record_store.hpp"

namespace nanobox {

namespace {

using Self = NetworkKeeperActor::stateful_pointer<NetworkKeeperState>;

/// Waiting VMMs have theirs already; these are for who boots cold, and for the next that waits.
constexpr std::size_t kReady = 2;
constexpr std::chrono::seconds kLook{5};

Result<std::vector<Ipv4Subnet>> parse_all(const std::vector<std::string>& texts) {
  std::vector<Ipv4Subnet> subnets;
  for (const auto& text : texts) subnets.push_back(NANOBOX_TRY(parse_cidr(text)));
  return subnets;
}

Result<NetworkedBoot> make_network(const Services& services, const AddressedBoot& addressed) {
  const auto& request = addressed.placed.request;
  const auto& sandbox = request.sandbox;
  if (!services.network) {
    if (sandbox.network.mode == "isolated") return NetworkedBoot{.addressed = addressed};
    return fail(services.network_problem);
  }
  if (request.from) return NetworkedBoot{.addressed = addressed};  // its VMM waits in a network of its own
  NANOBOX_TRY(services.network->take(sandbox.id));
  NANOBOX_TRY(attach_network(services, sandbox));
  return NetworkedBoot{.addressed = addressed};
}

/// The VM's namespace, and that it was that VM's which was opened.
Result<NetworkNamespace> namespace_of(const VmIdentity& identity) {
  const auto path = "/proc/" + std::to_string(identity.pid) + "/ns/net";
  UniqueFd inside(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!inside) return fail(errno_error(errno, "open", path, ErrorCode::guest_gone));
  NANOBOX_TRY(open_process({identity.boot_id, identity.pid, identity.start_time_ticks}));
  return NetworkNamespace(std::move(inside));
}

Result<void> adopt_one(const Services& services, const Sandbox& sandbox, const VmRow& row) {
  const auto address = parse_ipv4(sandbox.ip.value_or(""));
  if (!address) return {};
  const auto identity = NANOBOX_TRY(vm_identity_from_json(row.identity));
  auto inside = NANOBOX_TRY(namespace_of(identity));
  return services.network->adopt(sandbox.id, std::move(inside), *address, NANOBOX_TRY(rules_of(sandbox)));
}

}  // namespace

Result<SandboxRules> rules_of(const Sandbox& sandbox) {
  const auto& wanted = sandbox.network;
  SandboxRules rules;
  auto& policy = rules.policy;
  policy.rate_limit_mbps = wanted.rate_limit_mbps;
  if (wanted.mode == "internal") {
    policy.mode = NetworkMode::internal;
    rules.group = group_name(sandbox.owner, wanted.group);
  } else if (wanted.mode == "internet") {
    policy.mode = NetworkMode::internet;
    policy.allow_cidrs = NANOBOX_TRY(parse_all(wanted.allow_cidrs));
    policy.deny_cidrs = NANOBOX_TRY(parse_all(wanted.deny_cidrs));
    policy.allow_domains = !wanted.allow_domains.empty();
    for (const auto& domain : wanted.allow_domains)
      rules.allow_domains.push_back(NANOBOX_TRY(NamePattern::parse(domain)));
  }
  return rules;
}

Result<void> attach_network(const Services& services, const Sandbox& sandbox) {
  const auto address = parse_ipv4(sandbox.ip.value_or(""));
  if (!services.network || !address) return {};
  return services.network->attach(sandbox.id, *address, NANOBOX_TRY(rules_of(sandbox)));
}

Result<void> adopt_networks(const Services& services) {
  if (!services.network) return {};
  for (const auto& row : NANOBOX_TRY(services.node_store->vms())) {
    const auto record = NANOBOX_TRY(services.control_store->get(kSandboxKind, row.sandbox_id));
    const auto sandbox = record ? sandbox_from_record(record->value) : std::nullopt;
    if (!sandbox || !(sandbox->status == SandboxStatus::running || sandbox->status == SandboxStatus::pausing)) continue;
    if (auto adopted = adopt_one(services, *sandbox, row); !adopted)
      log_error(LogComponent::network, {{"sandbox", row.sandbox_id}}, "it has no network any more: {}",
                describe(adopted.error()));
  }
  const auto removed = NANOBOX_TRY(services.network->remove_leftovers());
  if (!removed.links.empty())
    log_info(LogComponent::network, {}, "{} links of VMs that are gone were removed", removed.links.size());
  return {};
}

NetworkKeeperActor::behavior_type network_keeper(Self self, SharedServices services) {
  self->state.services = std::move(services);
  if (self->state.services->network) self->send(self, tick_atom_v);
  return {
      [self](network_atom, const BootCall&, const AddressedBoot& addressed) -> caf::result<NetworkedBoot> {
        auto networked = make_network(*self->state.services, addressed);
        self->send(self, fill_atom_v);
        if (!networked) return to_caf(networked.error());
        return std::move(*networked);
      },
      [self](network_atom, const Sandbox& sandbox) -> caf::result<void> {
        const auto& services = *self->state.services;
        // One of a daemon that had networks keeps its former rules.
        if (!services.network && (sandbox.ip || sandbox.network.mode != "isolated"))
          return to_caf(services.network_problem);
        if (!sandbox.ip && sandbox.network.mode != "isolated")
          return to_caf({.code = ErrorCode::network_unavailable,
                         .attempted = "change the network of sandbox",
                         .subject = sandbox.id,
                         .reason = "it was made without an interface",
                         .mend = "make a new one"});
        if (auto changed = attach_network(services, sandbox); !changed) return to_caf(changed.error());
        return caf::unit;
      },
      [self](undo_atom, const std::string& id) -> caf::result<void> {
        if (const auto& network = self->state.services->network) network->release(id);
        return caf::unit;
      },
      [self](fill_atom) {
        const auto& network = self->state.services->network;
        if (!network) return;
        if (auto filled = network->fill(kReady); !filled)
          log_warn(LogComponent::network, {}, "{}", describe(filled.error()));
      },
      [self](tick_atom) {
        const auto& network = self->state.services->network;
        if (auto looked = network->look_after(); !looked)
          log_warn(LogComponent::network, {}, "{}", describe(looked.error()));
        self->send(self, fill_atom_v);
        self->delayed_send(self, kLook, tick_atom_v);
      },
  };
}

}  // namespace nanobox
