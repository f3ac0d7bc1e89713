#include "actors/cluster/node_face.hpp"

namespace nanobox {

namespace {

using Self = NodeFaceActor::stateful_pointer<NodeFaceState>;
constexpr std::chrono::minutes kFetchDeadline{60};
constexpr std::chrono::minutes kOrderDeadline{10};
constexpr std::chrono::seconds kFlushDeadline{5};

BootRequest request_of(const SandboxOrder& order) {
  return {.sandbox = order.sandbox,
          .way = order.way,
          .placement = order.placement,
          .received = std::chrono::steady_clock::now() - std::chrono::milliseconds(order.waited_ms)};
}

/// Answers once the control plane has been told what changed.
template <class Promise, class... Value>
void answer(Self self, Promise promise, Value... value) {
  const auto deliver = [promise, value...] {
    auto to = promise;
    if constexpr (sizeof...(Value) == 0)
      deliver_done(to);
    else
      to.deliver(value...);
  };
  self->request(self->state.link, kFlushDeadline, flush_atom_v).then(deliver, [deliver](caf::error&) { deliver(); });
}

template <class T, class Handle, class... Message>
void ask(Self self, caf::typed_response_promise<T> promise, const Handle& handle, std::chrono::milliseconds deadline,
         Message... message) {
  const auto failed = [self, promise](caf::error& error) { answer(self, promise, error); };
  if constexpr (std::is_void_v<T>)
    self->request(handle, deadline, std::move(message)...).then([self, promise] { answer(self, promise); }, failed);
  else
    self->request(handle, deadline, std::move(message)...)
        .then([self, promise](T& value) { answer(self, promise, std::move(value)); }, failed);
}

template <class T, class Handle, class... Message>
caf::result<T> order(Self self, const Handle& handle, std::chrono::milliseconds deadline, Message... message) {
  auto promise = self->make_response_promise<T>();
  ask<T>(self, promise, handle, deadline, std::move(message)...);
  return promise;
}

/// What the node lacks is fetched first.
caf::result<Sandbox> create(Self self, const SandboxOrder& wanted) {
  auto request = request_of(wanted);
  if (wanted.offers.empty())
    return order<Sandbox>(self, self->state.node.sandboxes, kOrderDeadline, create_atom_v, std::move(request));
  auto promise = self->make_response_promise<Sandbox>();
  const auto id = wanted.sandbox.id;
  self->state.fetching.emplace(id, promise);
  self->request(self->state.fetchers.templates, kFetchDeadline, fetch_atom_v, wanted.offers.front())
      .then(
          [self, id, promise, request = std::move(request)](const std::string& fetched) mutable {
            if (self->state.fetching.erase(id) == 0) return;  // it was cancelled
            if (!fetched.empty()) request.placement += (request.placement.empty() ? "" : "; ") + fetched;
            ask<Sandbox>(self, promise, self->state.node.sandboxes, kOrderDeadline, create_atom_v, std::move(request));
          },
          [self, id, promise](caf::error& error) {
            if (self->state.fetching.erase(id) != 0) answer(self, promise, error);
          });
  return promise;
}

/// One that waits for its template is not made. @returns whether it is such a one
bool stop_waiting(Self self, const std::string& id) {
  auto waiting = self->state.fetching.extract(id);
  if (waiting.empty()) return false;
  waiting.mapped().deliver(to_caf({.code = ErrorCode::cancelled,
                                   .attempted = "create sandbox",
                                   .subject = id,
                                   .reason = "it was cancelled while its template was fetched",
                                   .mend = ""}));
  return true;
}

}  // namespace

NodeFaceActor::behavior_type node_face(Self self, Node node, Fetchers fetchers, NewsFlushActor link) {
  auto& state = self->state;
  state.node = std::move(node);
  state.fetchers = std::move(fetchers);
  state.link = std::move(link);
  const auto& sandboxes = state.node.sandboxes;
  const auto& guests = state.node.node_agent;
  const auto& templates = state.node.templates;
  return {
      [self, &sandboxes](cancel_atom atom, const std::string& id) {
        if (!stop_waiting(self, id)) self->send(sandboxes, atom, id);
      },
      [self, &sandboxes](remove_atom atom, const std::string& id) -> caf::result<void> {
        if (stop_waiting(self, id)) return caf::unit;
        return order<void>(self, sandboxes, kOrderDeadline, atom, id);
      },
      [self, &sandboxes](keep_atom atom, const std::string& id, std::uint32_t timeout_sec) {
        return order<Sandbox>(self, sandboxes, kOrderDeadline, atom, id, timeout_sec);
      },
      [self, &sandboxes](network_atom atom, const std::string& id, const SandboxNetwork& network) {
        return order<Sandbox>(self, sandboxes, kOrderDeadline, atom, id, network);
      },
      [self, &sandboxes](pause_atom atom, const std::string& id) {
        return order<Sandbox>(self, sandboxes, kOrderDeadline, atom, id);
      },
      [self, &sandboxes](resume_atom atom, const std::string& id) {
        return order<Sandbox>(self, sandboxes, kOrderDeadline, atom, id);
      },
      [self, &sandboxes](fork_atom atom, const std::string& id, std::uint32_t count) {
        return order<Forked>(self, sandboxes, kOrderDeadline, atom, id, count);
      },
      [self, &sandboxes](snapshot_atom atom, const std::string& id, const std::string& name) {
        return order<Template>(self, sandboxes, kOrderDeadline, atom, id, name);
      },
      [self, &guests](open_atom atom, const std::string& id, const StreamRequest& request, const StreamSink& sink) {
        return self->delegate(guests, atom, id, request, sink);
      },
      [self, &guests](console_atom atom, const std::string& id) { return self->delegate(guests, atom, id); },
      [self, &guests](console_atom atom, const std::string& id, std::uint64_t offset) {
        return self->delegate(guests, atom, id, offset);
      },
      [self](fetch_atom atom, const StateOffer& offer) {
        return order<void>(self, self->state.fetchers.states, kFetchDeadline, atom, offer);
      },
      [self, &sandboxes](undo_atom atom, const std::string& saved) {
        return order<void>(self, sandboxes, kOrderDeadline, atom, saved);
      },
      [self, &sandboxes](adopt_atom atom, const std::string& saved, const Sandbox& known) {
        return order<Sandbox>(self, sandboxes, kOrderDeadline, atom, saved, known);
      },
      [self, &sandboxes](create_atom atom, const std::string& saved, std::uint32_t count) {
        return order<Forked>(self, sandboxes, kOrderDeadline, atom, saved, count);
      },
      [self, &sandboxes](capture_atom atom, const std::string& id) {
        return order<Forked>(self, sandboxes, kOrderDeadline, atom, id);
      },
      [self](create_atom, const SandboxOrder& wanted) { return create(self, wanted); },
      [self, &templates](warmup_atom atom, const WarmupRequest& request) {
        return order<WarmupAnswer>(self, templates, kOrderDeadline, atom, request);
      },
      [self, &templates](remove_atom atom, const std::string& owner, const std::string& name, bool force) {
        return order<void>(self, templates, kOrderDeadline, atom, owner, name, force);
      },
      [self](network_atom atom, const RemoteNetworks& told) { self->send(self->state.fetchers.networks, atom, told); },
      [self](address_atom atom, const std::vector<std::string>& parts, bool may_grow) {
        self->send(self->state.node.ip_allocator, atom, parts, may_grow);
      },
      [self](drain_atom, bool drained) { self->send(self->state.node.pool_keeper, pause_atom_v, drained); },
  };
}

}  // namespace nanobox
