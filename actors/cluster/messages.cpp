#include "actors/cluster/messages.hpp"

namespace nanobox {

namespace {

template <class F>
caf::error members(F& f, TemplateOffer& x) {
  auto& [entry, sources] = x;
  return f(entry, sources);
}

template <class F>
caf::error members(F& f, StateOffer& x) {
  auto& [state, sources] = x;
  return f(state, sources);
}

template <class F>
caf::error members(F& f, SandboxOrder& x) {
  auto& [sandbox, way, waited_ms, placement, offers] = x;
  return f(sandbox, checked(way, BootWay::automatic, BootWay::cold), waited_ms, placement, offers);
}

template <class F>
caf::error members(F& f, NodeCapacity& x) {
  auto& [vcpu, memory_mb, disk_mb, addresses, vcpu_overcommit, disk_overcommit] = x;
  return f(vcpu, memory_mb, disk_mb, addresses, vcpu_overcommit, disk_overcommit);
}

template <class F>
caf::error members(F& f, NodeHello& x) {
  auto& [node_id, protocol, version, incarnation, epoch, vmm, machine, data_addr, subnet_parts, overlay_addr, capacity,
         sandboxes, templates, pools, kept_states] = x;
  return f(node_id, protocol, version, incarnation, epoch, vmm, machine, data_addr, subnet_parts, overlay_addr,
           capacity, sandboxes, templates, pools, kept_states);
}

template <class F>
caf::error members(F& f, NodeBeat& x) {
  auto& [ready, reason, disk_free_mb, cache_bytes, snapshot_bytes, templates, addresses, addresses_free,
         channel_in_bytes, channel_out_bytes, concerns, usage] = x;
  return f(ready, reason, disk_free_mb, cache_bytes, snapshot_bytes, templates, addresses, addresses_free,
           channel_in_bytes, channel_out_bytes, concerns, usage);
}

template <class F>
caf::error members(F& f, NodeNews& x) {
  auto& [sandboxes, gone_sandboxes, templates, gone_templates, runs, pools, deaths] = x;
  return f(sandboxes, gone_sandboxes, templates, gone_templates, runs, pools, deaths);
}

template <class F>
caf::error members(F& f, Admission& x) {
  auto& [inbox, epoch, given_up] = x;
  return f(inbox, epoch, given_up);
}

template <class F>
caf::error members(F& f, Ipv4Subnet& x) {
  auto& [base, prefix] = x;
  return f(base, prefix);
}

template <class F>
caf::error members(F& f, OverlayPeer& x) {
  auto& [address, parts] = x;
  return f(address, parts);
}

template <class F>
caf::error members(F& f, RemoteMember& x) {
  auto& [id, address] = x;
  return f(id, address);
}

template <class F>
caf::error members(F& f, RemoteGroup& x) {
  auto& [name, group_members] = x;
  return f(name, group_members);
}

template <class F>
caf::error members(F& f, RemoteNetworks& x) {
  auto& [whole, peers, groups] = x;
  return f(whole, peers, groups);
}

template <class T>
caf::error load(caf::deserializer& source, T& x) {
  T read;
  if (auto error = members(source, read)) return error;
  x = std::move(read);
  return caf::none;
}

}  // namespace

#define NANOBOX_X(type)                                    \
  caf::error inspect(caf::serializer& sink, type& x) {     \
    return members(sink, x);                               \
  }                                                        \
  caf::error inspect(caf::deserializer& source, type& x) { \
    return load(source, x);                                \
  }
NANOBOX_X(TemplateOffer)
NANOBOX_X(StateOffer)
NANOBOX_X(SandboxOrder)
NANOBOX_X(NodeCapacity)
NANOBOX_X(NodeHello)
NANOBOX_X(NodeBeat)
NANOBOX_X(NodeNews)
NANOBOX_X(Admission)
NANOBOX_X(Ipv4Subnet)
NANOBOX_X(OverlayPeer)
NANOBOX_X(RemoteMember)
NANOBOX_X(RemoteGroup)
NANOBOX_X(RemoteNetworks)
#undef NANOBOX_X

}  // namespace nanobox
