#include "actors/node_agent.hpp"

#include <algorithm>

#include "actors/disk_keeper.hpp"
#include "actors/job.hpp"
#include "actors/stray_vm.hpp"
#include "actors/vm_supervisor.hpp"
#include "config/log.hpp"
#include "pipeline/boot/network/node_network.hpp"
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
  auto supervisor = self->spawn(vm_supervisor, self->state.services, VmEndedSink(NodeAgentActor(self)),
                                self->state.stock, self->state.remains, sandbox_id);
  self->monitor(supervisor);
  self->state.supervisors.emplace(sandbox_id, supervisor);
  return supervisor;
}

/// Has the sandbox' supervisor answer. @errors sandbox_not_running: it has no VM here
template <class T, class... Message>
caf::result<T> hand_on(Self self, const std::string& sandbox_id, const Message&... message) {
  const auto found = self->state.supervisors.find(sandbox_id);
  if (found == self->state.supervisors.end()) return to_caf(no_vm(sandbox_id));
  auto promise = self->template make_response_promise<T>();
  promise.delegate(found->second, message...);
  return promise;
}

struct PortKnockState {
  static inline const char* name = "port_knock";
  std::optional<GuestStream> stream;
};

/// Connects to a port inside, tells whether that worked, and leaves.
StreamSink::behavior_type port_knock(StreamSink::stateful_pointer<PortKnockState> self,
                                     const VmSupervisorActor& supervisor, std::uint16_t port,
                                     caf::typed_response_promise<void> promise) {
  self->request(supervisor, kEndDeadline, open_atom_v, StreamRequest(TcpRequest{port}), StreamSink(self))
      .then([self](const GuestStream& stream) { self->state.stream = stream; },
            [self, promise](caf::error& error) mutable {
              promise.deliver(error);
              self->quit();
            });
  return {
      [self, promise](opened_atom, const Opened&) mutable {
        deliver_done(promise);
        if (self->state.stream) self->state.stream->close();
        self->quit();
      },
      [](bytes_atom, const StreamData&) {},
      [](gap_atom, const OutputGap&) {},
      [](window_atom, const StdinWindow&) {},
      [self](exit_atom, const StreamExit&) { self->quit(); },
      [self, promise](failed_atom, const Error& error) mutable {
        promise.deliver(to_caf(error));
        self->quit();
      },
  };
}

/// Removes what the sandbox has on this node, its VM being gone.
void clean_up(Self self, const std::string& sandbox_id, caf::typed_response_promise<void> promise) {
  if (const auto& network = self->state.services->network) network->release(sandbox_id);
  const auto forgotten = self->state.services->node_store->forget(sandbox_id);
  self->request(self->state.disk_keeper, kEndDeadline, undo_atom_v, sandbox_id)
      .then(
          [promise, forgotten]() mutable {
            if (!forgotten)
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
              log_error(LogComponent::vm, {{"sandbox", sandbox_id}}, "{}",
                        describe(from_caf(error, "end the VM of " + sandbox_id)));
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
  log_error(LogComponent::vm, {{"sandbox", sandbox_id}}, "the supervisor of {} died: {}", sandbox_id,
            self->system().render(down.reason));
  if (self->state.registry)
    self->send(self->state.registry, ended_atom_v, sandbox_id, "the actor that watches its VM died");
}

}  // namespace

NodeAgentActor::behavior_type node_agent(Self self, SharedServices services, DiskKeeperActor disk_keeper,
                                         VmmStockActor stock, VmRemainsBoard remains) {
  self->state.remains = std::move(remains);
  self->state.stock = std::move(stock);
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
      [self](rehearse_atom atom, const BootCall& call, const ReadyGuest& ready) {
        return self->delegate(supervisor_of(self, call.sandbox_id), atom, call, ready);
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
      [self](open_atom, const std::string& sandbox_id, const StreamRequest& request, const StreamSink& sink)
          -> caf::result<GuestStream> { return hand_on<GuestStream>(self, sandbox_id, open_atom_v, request, sink); },
      [self](capture_atom atom, const std::string& sandbox_id, const SaveOrder& order) -> caf::result<Saved> {
        return hand_on<Saved>(self, sandbox_id, atom, order);
      },
      [self](thaw_atom atom, const std::string& sandbox_id) -> caf::result<void> {
        return hand_on<void>(self, sandbox_id, atom);
      },
      [self](take_atom atom, const std::string& pool_id, const BootRequest& request) -> caf::result<Sandbox> {
        auto entry = self->state.supervisors.extract(pool_id);
        if (entry.empty()) return to_caf(no_vm(pool_id));
        entry.key() = request.sandbox.id;
        const auto supervisor = entry.mapped();
        self->state.supervisors.insert(std::move(entry));
        const auto& services = *self->state.services;
        std::error_code error;
        const auto folder = sandbox_files(services, pool_id).folder;
        std::filesystem::rename(folder, sandbox_files(services, request.sandbox.id).folder, error);
        if (error) return to_caf(errno_error(error.value(), "move the disk of a pool's VM", folder));
        auto promise = self->make_response_promise<Sandbox>();
        promise.delegate(supervisor, atom, request);
        return promise;
      },
      [self](ping_atom atom, const std::string& sandbox_id) -> caf::result<void> {
        return hand_on<void>(self, sandbox_id, atom);
      },
      [self](ping_atom, const std::string& sandbox_id, std::uint16_t port) -> caf::result<void> {
        const auto found = self->state.supervisors.find(sandbox_id);
        if (found == self->state.supervisors.end()) return to_caf(no_vm(sandbox_id));
        auto promise = self->make_response_promise<void>();
        self->spawn(port_knock, found->second, port, promise);
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
        return hand_on<std::string>(self, sandbox_id, console_atom_v);
      },
      [self](console_atom, const std::string& sandbox_id, std::uint64_t offset) -> caf::result<ConsolePiece> {
        return hand_on<ConsolePiece>(self, sandbox_id, console_atom_v, offset);
      },
      [self](ended_atom, const std::string& sandbox_id, const std::string& reason) {
        if (self->state.registry) self->send(self->state.registry, ended_atom_v, sandbox_id, reason);
      },
      [self](start_atom, const VmEndedSink& registry) { self->state.registry = registry; },
  };
}

}  // namespace nanobox
