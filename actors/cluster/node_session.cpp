#include "actors/cluster/node_session.hpp"

#include "actors/run_recorder.hpp"

namespace nanobox {

namespace {

using Self = NodeSessionActor::stateful_pointer<NodeSessionState>;

// Longer than what waits for these: who asked is told in time, and the node's own answer says more than a timeout.
constexpr std::chrono::minutes kCreate{6};
constexpr std::chrono::minutes kCopy{11};
constexpr std::chrono::minutes kFetch{61};
constexpr std::chrono::seconds kShort{100};

/// Asks the node in the session's own name, so that the asker's handle stays at home.
template <class T, class... Message>
caf::result<T> ask_node(Self self, std::chrono::milliseconds deadline, const std::string& attempted,
                        const Message&... message) {
  auto& state = self->state;
  auto promise = self->make_response_promise<T>();
  const auto number = ++state.last_number;
  state.pending.emplace(number, [promise](const Error& error) mutable { promise.deliver(to_caf(error)); });
  const auto failed = [self, promise, number, attempted](caf::error& error) mutable {
    if (self->state.pending.erase(number) != 0) promise.deliver(to_caf(from_caf(error, attempted)));
  };
  if constexpr (std::is_void_v<T>)
    self->request(state.face, deadline, message...)
        .then(
            [self, promise, number]() {
              if (self->state.pending.erase(number) != 0) deliver_done(promise);
            },
            failed);
  else
    self->request(state.face, deadline, message...)
        .then(
            [self, promise, number](T& value) mutable {
              if (self->state.pending.erase(number) != 0) promise.deliver(std::move(value));
            },
            failed);
  return promise;
}

void lose(Self self, const std::string& reason) {
  auto& state = self->state;
  const Error error{.code = ErrorCode::node_lost,
                    .attempted = "ask node",
                    .subject = state.node_id,
                    .reason = reason,
                    .mend = "GET /api/v1/nodes shows how it fares",
                    .transient = true,
                    .retry_after_sec = 5};
  for (auto& [number, tell] : std::exchange(state.pending, {})) tell(error);
  self->send(state.listeners.nodes, lost_atom_v, state.node_id, state.epoch, reason);
  self->quit();
}

/// What a node says of runs is about its own: another's record is not its to change. Published at once: who is
/// answered next finds them.
void take_runs(Self self, std::vector<RunRecord>& runs) {
  auto& state = self->state;
  for (auto& run : runs) {
    const auto known = state.listeners.boards->runs.find(run.id);
    if (known && known->node_id != state.node_id) continue;
    run.node_id = state.node_id;
    record_run(*state.listeners.boards, std::move(run));
  }
  runs.clear();
}

}  // namespace

NodeSessionActor::behavior_type node_session(Self self, std::string node_id, std::uint64_t epoch, NodeFaceActor face,
                                             SessionListeners listeners) {
  auto& state = self->state;
  state.node_id = std::move(node_id);
  state.epoch = epoch;
  state.face = std::move(face);
  state.listeners = std::move(listeners);
  state.heard = self->clock().now();
  self->monitor(state.face);
  self->set_down_handler([self](const caf::down_msg&) { lose(self, "its connection is gone"); });
  self->set_exit_handler([self](const caf::exit_msg&) { lose(self, "its connection was closed"); });
  self->delayed_send(self, kNodeBeat, tick_atom_v);
  return {
      [self](cancel_atom atom, const std::string& id) { self->send(self->state.face, atom, id); },
      [self](remove_atom atom, const std::string& id) { return ask_node<void>(self, kShort, "end " + id, atom, id); },
      [self](keep_atom atom, const std::string& id, std::uint32_t timeout_sec) {
        return ask_node<Sandbox>(self, kShort, "keep " + id + " alive", atom, id, timeout_sec);
      },
      [self](network_atom atom, const std::string& id, const SandboxNetwork& network) {
        return ask_node<Sandbox>(self, kShort, "change the network of " + id, atom, id, network);
      },
      [self](pause_atom atom, const std::string& id) {
        return ask_node<Sandbox>(self, kCopy, "pause " + id, atom, id);
      },
      [self](resume_atom atom, const std::string& id) {
        return ask_node<Sandbox>(self, kCopy, "resume " + id, atom, id);
      },
      [self](fork_atom atom, const std::string& id, std::uint32_t count) {
        return ask_node<Forked>(self, kCopy, "fork " + id, atom, id, count);
      },
      [self](snapshot_atom atom, const std::string& id, const std::string& name) {
        return ask_node<Template>(self, kCopy, "make a template of " + id, atom, id, name);
      },
      // Its asker is the stream's own actor, and what the guest's supervisor tells it must follow the answer.
      [self](open_atom atom, const std::string& id, const StreamRequest& request, const StreamSink& sink) {
        return self->delegate(self->state.face, atom, id, request, sink);
      },
      [self](console_atom atom, const std::string& id) {
        return ask_node<std::string>(self, kShort, "read the console of " + id, atom, id);
      },
      [self](console_atom atom, const std::string& id, std::uint64_t offset) {
        return ask_node<ConsolePiece>(self, std::chrono::hours{24 * 8}, "follow the console of " + id, atom, id,
                                      offset);
      },
      [self](fetch_atom atom, const StateOffer& offer) {
        return ask_node<void>(self, kFetch, "fetch the state of " + offer.state.id, atom, offer);
      },
      [self](undo_atom atom, const std::string& saved) {
        return ask_node<void>(self, kShort, "let go of " + saved, atom, saved);
      },
      [self](adopt_atom atom, const std::string& saved, const Sandbox& known) {
        return ask_node<Sandbox>(self, kShort, "take over " + known.id, atom, saved, known);
      },
      [self](create_atom atom, const std::string& saved, std::uint32_t count) {
        return ask_node<Forked>(self, kCopy, "fork " + saved, atom, saved, count);
      },
      [self](capture_atom atom, const std::string& id) {
        return ask_node<Forked>(self, kCopy, "save the state of " + id, atom, id);
      },
      [self](create_atom atom, const SandboxOrder& order) {
        return ask_node<Sandbox>(self, kCreate, "create a sandbox", atom, order);
      },
      [self](warmup_atom atom, const WarmupRequest& request) {
        return ask_node<WarmupAnswer>(self, kShort, "warm up", atom, request);
      },
      [self](remove_atom atom, const std::string& owner, const std::string& name, bool force) {
        return ask_node<void>(self, kShort, "remove template", atom, owner, name, force);
      },
      [self](network_atom atom, const RemoteNetworks& told) { self->send(self->state.face, atom, told); },
      [self](address_atom atom, const std::vector<std::string>& parts, bool may_grow) {
        self->send(self->state.face, atom, parts, may_grow);
      },
      [self](drain_atom atom, bool drained) { self->send(self->state.face, atom, drained); },
      [self](beat_atom atom, NodeBeat& beat) {
        auto& state = self->state;
        state.heard = self->clock().now();
        self->send(state.listeners.nodes, atom, state.node_id, state.epoch, std::move(beat));
      },
      [self](news_atom atom, NodeNews& news) {
        auto& state = self->state;
        state.heard = self->clock().now();
        take_runs(self, news.runs);
        if (!news.pools.empty())
          self->send(state.listeners.nodes, atom, state.node_id, state.epoch, std::exchange(news.pools, {}));
        if (!news.templates.empty() || !news.gone_templates.empty()) {
          NodeNews templates;
          templates.templates = std::exchange(news.templates, {});
          templates.gone_templates = std::exchange(news.gone_templates, {});
          self->send(state.listeners.sandboxes, atom, state.node_id, state.epoch, templates);
          self->send(state.listeners.templates, atom, state.node_id, state.epoch, std::move(templates));
        }
        if (!news.empty()) self->send(state.listeners.sandboxes, atom, state.node_id, state.epoch, std::move(news));
      },
      [self](start_atom, const NewsSinkActor& directory, bool of_templates) {
        auto& listeners = self->state.listeners;
        (of_templates ? listeners.templates : listeners.sandboxes) = directory;
      },
      [self](tick_atom atom) {
        auto& state = self->state;
        if (!state.listeners.is_local && self->clock().now() - state.heard > kNodeSilence)
          return lose(self, "it said nothing for " + std::to_string(kNodeSilence.count()) + " s");
        self->delayed_send(self, kNodeBeat, atom);
      },
  };
}

}  // namespace nanobox
