#pragma once

#include "actors/concerns.hpp"

namespace nanobox {

/// Which actor and message stand behind each stage: the only place where stage tags and CAF meet.

struct WarmupConcerns {
  ImagePullerActor image_puller;
  LayerExtractorActor layer_extractor;
  Ext4BuilderActor ext4_builder;
  TemplateRegistryActor template_registry;
  SnapshotMakerActor snapshot_maker;
};

template <class Self>
auto ask(Self* self, const WarmupConcerns& to, const WarmupCall& call, ResolveStage, const ImageRequest& input) {
  return self->request(to.image_puller, ResolveStage::deadline, resolve_atom_v, call, input);
}
template <class Self>
auto ask(Self* self, const WarmupConcerns& to, const WarmupCall& call, PullStage, const ResolvedImage& input) {
  return self->request(to.image_puller, PullStage::deadline, pull_atom_v, call, input);
}
template <class Self>
auto ask(Self* self, const WarmupConcerns& to, const WarmupCall& call, ExtractStage, const PulledImage& input) {
  return self->request(to.layer_extractor, ExtractStage::deadline, extract_atom_v, call, input);
}
template <class Self>
auto ask(Self* self, const WarmupConcerns& to, const WarmupCall& call, BuildStage, const IndexedImage& input) {
  return self->request(to.ext4_builder, BuildStage::deadline, build_atom_v, call, input);
}
template <class Self>
auto ask(Self* self, const WarmupConcerns& to, const WarmupCall& call, PublishStage, const BuiltImage& input) {
  return self->request(to.template_registry, PublishStage::deadline, publish_atom_v, call, input);
}

template <class Self>
auto ask(Self* self, const WarmupConcerns& to, const WarmupCall& call, SnapshotStage, const Template& input) {
  return self->request(to.snapshot_maker, SnapshotStage::deadline, snapshot_atom_v, call, input);
}

constexpr std::chrono::seconds kUndoDeadline{60};

template <class Self>
auto ask_undo(Self* self, const WarmupConcerns& to, const WarmupCall& call, PullStage) {
  return self->request(to.image_puller, kUndoDeadline, undo_atom_v, call.run_id);
}
template <class Self>
auto ask_undo(Self* self, const WarmupConcerns& to, const WarmupCall& call, ExtractStage) {
  return self->request(to.layer_extractor, kUndoDeadline, undo_atom_v, call.run_id);
}
template <class Self>
auto ask_undo(Self* self, const WarmupConcerns& to, const WarmupCall& call, BuildStage) {
  return self->request(to.layer_extractor, kUndoDeadline, undo_atom_v, call.run_id);
}
template <class Self>
auto ask_undo(Self* self, const WarmupConcerns& to, const WarmupCall& call, SnapshotStage) {
  return self->request(to.snapshot_maker, kUndoDeadline, undo_atom_v, call.run_id);
}
template <class Self>
void interrupt(Self* self, const WarmupConcerns& to, const WarmupCall& call) {
  caf::anon_send(to.snapshot_maker, undo_atom_v, call.run_id);
  self->send(to.image_puller, cancel_atom_v, call.run_id);
  self->send(to.layer_extractor, cancel_atom_v, call.run_id);
  self->send(to.ext4_builder, cancel_atom_v, call.run_id);
}
template <class Self>
void release(Self* self, const WarmupConcerns& to, const WarmupCall& call) {
  self->send(to.image_puller, ended_atom_v, call.run_id);
}

struct BootConcerns {
  SchedulerActor scheduler;
  IpAllocatorActor ip_allocator;
  NetworkKeeperActor network_keeper;
  DiskKeeperActor disk_keeper;
  NodeAgentActor node_agent;
};

/// The VM is gone: its share of the node and its address are others' to have.
inline void release_place(const BootConcerns& to, const std::string& vm_id) {
  caf::anon_send(to.scheduler, undo_atom_v, vm_id);
  caf::anon_send(to.ip_allocator, undo_atom_v, vm_id);
}

template <class Self>
auto ask(Self* self, const BootConcerns& to, const BootCall& call, PlaceStage, const BootRequest& input) {
  return self->request(to.scheduler, PlaceStage::deadline, place_atom_v, call, input);
}
template <class Self>
auto ask(Self* self, const BootConcerns& to, const BootCall& call, AddressStage, const PlacedBoot& input) {
  return self->request(to.ip_allocator, AddressStage::deadline, address_atom_v, call, input);
}
template <class Self>
auto ask(Self* self, const BootConcerns& to, const BootCall& call, NetworkStage, const AddressedBoot& input) {
  return self->request(to.network_keeper, NetworkStage::deadline, network_atom_v, call, input);
}
template <class Self>
auto ask(Self* self, const BootConcerns& to, const BootCall& call, DiskStage, const NetworkedBoot& input) {
  return self->request(to.disk_keeper, DiskStage::deadline, disk_atom_v, call, input);
}
template <class Self>
auto ask(Self* self, const BootConcerns& to, const BootCall& call, VmStage, const DiskedBoot& input) {
  return self->request(to.node_agent, VmStage::deadline, vm_atom_v, call, input);
}
template <class Self>
auto ask(Self* self, const BootConcerns& to, const BootCall& call, HandshakeStage, const StartedVm& input) {
  return self->request(to.node_agent, HandshakeStage::deadline, shake_atom_v, call, input);
}
template <class Self>
auto ask(Self* self, const BootConcerns& to, const BootCall& call, RehearseStage, const ReadyGuest& input) {
  return self->request(to.node_agent, RehearseStage::deadline, rehearse_atom_v, call, input);
}
template <class Self>
auto ask(Self* self, const BootConcerns& to, const BootCall& call, ConfigureStage, const ReadyGuest& input) {
  return self->request(to.node_agent, ConfigureStage::deadline, config_atom_v, call, input);
}

template <class Self>
auto ask_undo(Self* self, const BootConcerns& to, const BootCall& call, PlaceStage) {
  return self->request(to.scheduler, kUndoDeadline, undo_atom_v, call.sandbox_id);
}
template <class Self>
auto ask_undo(Self* self, const BootConcerns& to, const BootCall& call, AddressStage) {
  return self->request(to.ip_allocator, kUndoDeadline, undo_atom_v, call.sandbox_id);
}
template <class Self>
auto ask_undo(Self* self, const BootConcerns& to, const BootCall& call, NetworkStage) {
  return self->request(to.network_keeper, kUndoDeadline, undo_atom_v, call.sandbox_id);
}
template <class Self>
auto ask_undo(Self* self, const BootConcerns& to, const BootCall& call, DiskStage) {
  return self->request(to.disk_keeper, kUndoDeadline, undo_atom_v, call.sandbox_id);
}
template <class Self>
auto ask_undo(Self* self, const BootConcerns& to, const BootCall& call, VmStage) {
  return self->request(to.node_agent, kUndoDeadline, undo_atom_v, call.sandbox_id);
}
template <class Self>
void interrupt(Self*, const BootConcerns& to, const BootCall& call) {
  // Anonymous: the answer would come back as a message that a run does not know.
  caf::anon_send(to.node_agent, undo_atom_v, call.sandbox_id);
}
template <class Self>
void release(Self*, const BootConcerns&, const BootCall&) {}

}  // namespace nanobox
