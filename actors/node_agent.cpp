#include "actors/node_agent.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "actors/job.hpp"
#include "actors/vm_supervisor.hpp"
#include "pipeline/store/node_store.hpp"

namespace nanobox {

namespace {

using Self = NodeAgentActor::stateful_pointer<NodeAgentState>;
constexpr std::chrono::seconds kEndDeadline{30};

Error no_vm(const std::string& sandbox_id) {
  return {.code = ErrorCode::sandbox_not_running,
          .attempted = "use sandbox",
          .subject = sandbox_id,
          .reason = "it has no VM on this node",
          .mend = ""};
}

VmSupervisorActor supervisor_of(Self self, const std::string& sandbox_id) {
  const auto found = self->state.supervisors.find(sandbox_id);
  if (found != self->state.supervisors.end()) return found->second;
  auto supervisor = self->spawn(vm_supervisor, self->state.services, VmEndedSink(NodeAgentActor(self)), sandbox_id);
  self->monitor(supervisor);
  self->state.supervisors.emplace(sandbox_id, supervisor);
  return supervisor;
}

/// Ends a VM that an earlier daemon left and nobody supervises. @returns whether there was one
Result<bool> end_stray(const Services& services, const std::string& sandbox_id) {
  const auto row = NANOBOX_TRY(services.node_store->vm(sandbox_id));
  if (!row || !services.driver) return false;
  const auto identity = NANOBOX_TRY(vm_identity_from_json(row->identity));
  struct Gone {
    std::mutex mutex;
    std::condition_variable changed;
    bool gone = false;
  };
  auto gone = std::make_shared<Gone>();
  VmEvents events;
  events.on_ready = [] {};
  events.on_channel = [](std::span<const std::byte>) {};
  events.on_channel_writable = [] {};
  events.on_disk_error = [](bool) {};
  events.on_exit = [gone](const VmExit&) {
    const std::lock_guard lock(gone->mutex);
    gone->gone = true;
    gone->changed.notify_all();
  };
  auto vm = services.driver->adopt(identity, std::move(events));
  if (!vm) {  // it is not there any more
    NANOBOX_TRY(services.driver->clean_up(identity));
    return false;
  }
  (*vm)->end();
  std::unique_lock lock(gone->mutex);
  gone->changed.wait_for(lock, kEndDeadline / 2, [&] { return gone->gone; });
  return true;
}

/// Removes what the sandbox has on this node, its VM being gone.
void clean_up(Self self, const std::string& sandbox_id, caf::typed_response_promise<void> promise) {
  self->request(self->state.disk_keeper, kEndDeadline, undo_atom_v, sandbox_id)
      .then(
          [self, sandbox_id, promise]() mutable {
            if (auto forgotten = self->state.services->node_store->forget(sandbox_id); !forgotten)
              promise.deliver(to_caf(forgotten.error()));
            else
              deliver_done(promise);
          },
          [promise](caf::error& error) mutable { promise.deliver(error); });
}

/// Ends the VM, supervised or not, then goes on with `next`.
template <class Next>
void end_vm(Self self, const std::string& sandbox_id, Next next) {
  const auto found = self->state.supervisors.find(sandbox_id);
  if (found != self->state.supervisors.end()) {
    const auto supervisor = found->second;
    self->request(supervisor, kEndDeadline, end_atom_v)
        .then(
            [self, sandbox_id, supervisor, next]() mutable {
              self->state.supervisors.erase(sandbox_id);
              self->send_exit(supervisor, caf::exit_reason::user_shutdown);
              next();
            },
            [self, sandbox_id, supervisor, next](caf::error& error) mutable {
              spdlog::error("{}", describe(from_caf(error, "end the VM of " + sandbox_id)));
              self->state.supervisors.erase(sandbox_id);
              self->send_exit(supervisor, caf::exit_reason::user_shutdown);
              next();
            });
    return;
  }
  request_job(self, kEndDeadline, [services = self->state.services, sandbox_id] {
    return end_stray(*services, sandbox_id);
  }).then([next](bool) mutable { next(); }, [next](caf::error&) mutable { next(); });
}

/// Its VM runs on without anybody who knows its state: the registry has it ended.
void supervisor_died(Self self, const caf::down_msg& down) {
  auto& supervisors = self->state.supervisors;
  const auto found = std::find_if(supervisors.begin(), supervisors.end(),
                                  [&](const auto& entry) { return entry.second.address() == down.source; });
  if (found == supervisors.end()) return;
  const auto sandbox_id = found->first;
  supervisors.erase(found);
  spdlog::error("the supervisor of {} died: {}", sandbox_id, self->system().render(down.reason));
  if (self->state.registry)
    self->send(self->state.registry, ended_atom_v, sandbox_id, "the actor that watches its VM died");
}

}  // namespace

NodeAgentActor::behavior_type node_agent(Self self, SharedServices services, DiskKeeperActor disk_keeper) {
  self->state.services = std::move(services);
  self->state.disk_keeper = std::move(disk_keeper);
  self->set_down_handler([self](const caf::down_msg& down) { supervisor_died(self, down); });
  return {
      [self](vm_atom atom, const BootCall& call, const DiskedBoot& disked) {
        return self->delegate(supervisor_of(self, call.sandbox_id), atom, call, disked);
      },
      [self](shake_atom atom, const BootCall& call, const StartedVm& started) {
        return self->delegate(supervisor_of(self, call.sandbox_id), atom, call, started);
      },
      [self](config_atom atom, const BootCall& call, const ReadyGuest& ready) {
        return self->delegate(supervisor_of(self, call.sandbox_id), atom, call, ready);
      },
      [self](adopt_atom, const Sandbox& sandbox) -> caf::result<void> {
        if (self->state.supervisors.contains(sandbox.id)) return caf::unit;
        const auto row = self->state.services->node_store->vm(sandbox.id);
        if (!row) return to_caf(row.error());
        if (!*row) return to_caf(no_vm(sandbox.id));
        const auto identity = vm_identity_from_json((*row)->identity);
        if (!identity) return to_caf(identity.error());
        auto promise = self->make_response_promise<void>();
        promise.delegate(supervisor_of(self, sandbox.id), adopt_atom_v, sandbox, *identity);
        return promise;
      },
      [self](open_atom, const std::string& sandbox_id, const StreamRequest& request,
             const StreamSink& sink) -> caf::result<GuestStream> {
        const auto found = self->state.supervisors.find(sandbox_id);
        if (found == self->state.supervisors.end()) return to_caf(no_vm(sandbox_id));
        auto promise = self->make_response_promise<GuestStream>();
        promise.delegate(found->second, open_atom_v, request, sink);
        return promise;
      },
      [self](end_atom, const std::string& sandbox_id) -> caf::result<void> {
        auto promise = self->make_response_promise<void>();
        end_vm(self, sandbox_id, [self, sandbox_id, promise] { clean_up(self, sandbox_id, promise); });
        return promise;
      },
      [self](undo_atom, const std::string& sandbox_id) -> caf::result<void> {
        auto promise = self->make_response_promise<void>();
        end_vm(self, sandbox_id, [self, sandbox_id, promise]() mutable {
          if (auto forgotten = self->state.services->node_store->forget(sandbox_id); !forgotten)
            promise.deliver(to_caf(forgotten.error()));
          else
            deliver_done(promise);
        });
        return promise;
      },
      [self](console_atom, const std::string& sandbox_id) -> caf::result<std::string> {
        const auto found = self->state.supervisors.find(sandbox_id);
        if (found == self->state.supervisors.end()) return to_caf(no_vm(sandbox_id));
        auto promise = self->make_response_promise<std::string>();
        promise.delegate(found->second, console_atom_v);
        return promise;
      },
      [self](console_atom, const std::string& sandbox_id, std::uint64_t offset) -> caf::result<ConsolePiece> {
        const auto found = self->state.supervisors.find(sandbox_id);
        if (found == self->state.supervisors.end()) return to_caf(no_vm(sandbox_id));
        auto promise = self->make_response_promise<ConsolePiece>();
        promise.delegate(found->second, console_atom_v, offset);
        return promise;
      },
      [self](ended_atom, const std::string& sandbox_id, const std::string& reason) {
        if (self->state.registry) self->send(self->state.registry, ended_atom_v, sandbox_id, reason);
      },
      [self](start_atom, const VmEndedSink& registry) { self->state.registry = registry; },
  };
}

}  // namespace nanobox
