#include "actors/cluster/node_face.hpp"

namespace nanobox {

namespace {

using Self = NodeFaceActor::stateful_pointer<NodeFaceState>;
constexpr std::chrono::minutes kFetchDeadline{60};
constexpr std::chrono::minutes kCreateDeadline{6};

BootRequest request_of(const SandboxOrder& order) {
  return {.sandbox = order.sandbox,
          .way = order.way,
          .placement = order.placement,
          .received = std::chrono::steady_clock::now() - std::chrono::milliseconds(order.waited_ms)};
}

/// What the node lacks is fetched first.
caf::result<Sandbox> create(Self self, const SandboxOrder& order) {
  auto request = request_of(order);
  auto promise = self->make_response_promise<Sandbox>();
  if (order.offers.empty()) {
    promise.delegate(self->state.node.sandboxes, create_atom_v, std::move(request));
    return promise;
  }
  self->request(self->state.fetcher, kFetchDeadline, fetch_atom_v, order.offers.front())
      .then(
          [self, promise, request = std::move(request)](const std::string& fetched) mutable {
            if (!fetched.empty()) request.placement += (request.placement.empty() ? "" : "; ") + fetched;
            self->request(self->state.node.sandboxes, kCreateDeadline, create_atom_v, std::move(request))
                .then([promise](Sandbox& made) mutable { promise.deliver(std::move(made)); },
                      [promise](caf::error& error) mutable { promise.deliver(std::move(error)); });
          },
          [promise](caf::error& error) mutable { promise.deliver(std::move(error)); });
  return promise;
}

}  // namespace

NodeFaceActor::behavior_type node_face(Self self, Node node, TemplateFetcherActor fetcher) {
  self->state.node = std::move(node);
  self->state.fetcher = std::move(fetcher);
  const auto& handles = self->state.node;
  return {
      [self, &handles](cancel_atom atom, const std::string& id) { self->send(handles.sandboxes, atom, id); },
      [self, &handles](remove_atom atom, const std::string& id) { return self->delegate(handles.sandboxes, atom, id); },
      [self, &handles](keep_atom atom, const std::string& id, std::uint32_t timeout_sec) {
        return self->delegate(handles.sandboxes, atom, id, timeout_sec);
      },
      [self, &handles](network_atom atom, const std::string& id, const SandboxNetwork& network) {
        return self->delegate(handles.sandboxes, atom, id, network);
      },
      [self, &handles](pause_atom atom, const std::string& id) { return self->delegate(handles.sandboxes, atom, id); },
      [self, &handles](resume_atom atom, const std::string& id) { return self->delegate(handles.sandboxes, atom, id); },
      [self, &handles](fork_atom atom, const std::string& id, std::uint32_t count) {
        return self->delegate(handles.sandboxes, atom, id, count);
      },
      [self, &handles](snapshot_atom atom, const std::string& id, const std::string& name) {
        return self->delegate(handles.sandboxes, atom, id, name);
      },
      [self, &handles](open_atom atom, const std::string& id, const StreamRequest& request, const StreamSink& sink) {
        return self->delegate(handles.node_agent, atom, id, request, sink);
      },
      [self, &handles](console_atom atom, const std::string& id) {
        return self->delegate(handles.node_agent, atom, id);
      },
      [self, &handles](console_atom atom, const std::string& id, std::uint64_t offset) {
        return self->delegate(handles.node_agent, atom, id, offset);
      },
      [self](create_atom, const SandboxOrder& order) { return create(self, order); },
      [self, &handles](warmup_atom atom, const WarmupRequest& request) {
        return self->delegate(handles.templates, atom, request);
      },
      [self, &handles](remove_atom atom, const std::string& owner, const std::string& name, bool force) {
        return self->delegate(handles.templates, atom, owner, name, force);
      },
      [self, &handles](drain_atom, bool drained) { self->send(handles.pool_keeper, rest_atom_v, drained); },
  };
}

}  // namespace nanobox
