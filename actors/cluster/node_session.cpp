#include "actors/cluster/node_session.hpp"

#include <algorithm>

#include "actors/cluster/node_word.hpp"
#include "actors/run_recorder.hpp"
#include "config/log.hpp"

namespace nanobox {

namespace {

using Self = NodeSessionActor::stateful_pointer<NodeSessionState>;

// Longer than what waits for these: who asked is told in time, and the node's own answer says more than a timeout.
constexpr std::chrono::minutes kCreate{6};
constexpr std::chrono::minutes kCopy{11};
constexpr std::chrono::minutes kFetch{61};
constexpr std::chrono::seconds kShort{100};
/// Until all know that a node is lost, somebody may ask it something.
constexpr std::chrono::seconds kLostKept{2};

/// Whether a message is of this process: a node that holds the session's handle may send it what it likes.
bool is_ours(Self self) {
  const auto& sender = self->current_sender();
  return sender && sender->node() == self->node();
}

/// Whether it is of the node that the session is with.
bool is_of_the_node(Self self) {
  const auto& sender = self->current_sender();
  return !self->state.lost && sender && sender->node() == self->state.face.node();
}

/// Asks the node in the session's own name, so that the asker's handle stays at home.
template <class T, class... Message>
caf::result<T> ask_node(Self self, std::chrono::milliseconds deadline, const std::string& attempted,
                        const Message&... message) {
  auto& state = self->state;
  if (state.lost) return to_caf(*state.lost);
  Question<T> question(*state.questions, self->make_response_promise<T>());
  const auto failed = [question, attempted](caf::error& error) mutable { question.fail(from_caf(error, attempted)); };
  if constexpr (std::is_void_v<T>)
    self->request(state.face, deadline, message...).then([question]() mutable { question.answer(); }, failed);
  else
    self->request(state.face, deadline, message...)
        .then([question](T& value) mutable { question.answer(std::move(value)); }, failed);
  return question.promise();
}

/// Its asker is the stream's own actor, and what the guest's supervisor tells it must follow the answer: both come
/// straight from the node, or, where the node is lost, neither does.
caf::result<GuestStream> open(Self self, open_atom atom, const std::string& id, const StreamRequest& request,
                              const StreamSink& sink) {
  auto& state = self->state;
  if (state.lost) return to_caf(*state.lost);
  if (!state.sinks.contains(sink.address())) {
    self->monitor(sink);
    state.sinks[sink.address()] =
        state.questions->add([sink](const Error& error) { caf::anon_send(sink, failed_atom_v, error); });
  }
  return self->delegate(state.face, atom, id, request, sink);
}

Error node_is_lost(const std::string& node_id, const std::string& reason) {
  return {.code = ErrorCode::node_lost,
          .attempted = "ask node",
          .subject = node_id,
          .reason = reason,
          .mend = "GET /api/v1/nodes shows how it fares",
          .transient = true,
          .retry_after_sec = 5};
}

/// The connection is over. Whoever waits is told, and so is whoever asks until all know: the session ends a little
/// later.
void lose(Self self, const std::string& reason) {
  auto& state = self->state;
  if (state.lost) return;
  state.lost = node_is_lost(state.node_id, reason);
  state.lost_at = self->clock().now();
  state.questions->fail_all(*state.lost);
  self->send(state.listeners.nodes, lost_atom_v, state.node_id, state.epoch, reason);
}

/// Whether a node's word keeps to the limits; one that does not is let in no more.
template <class Word>
bool is_fit(Self self, const Word& word) {
  const auto fit = check_word(self->state.node_id, word);
  if (fit) return true;
  log_error(LogComponent::cluster, {}, "{}", describe(fit.error()));
  lose(self, describe(fit.error()));
  self->quit();
  return false;
}

void went_down(Self self, const caf::down_msg& down) {
  auto& state = self->state;
  if (down.source == state.face) return lose(self, "its connection is gone");
  if (down.source == state.listeners.nodes) {
    // The next one knows nothing of this session: the node comes in anew.
    lose(self, "its connection was closed");
    return self->quit();
  }
  if (const auto sink = state.sinks.extract(down.source)) state.questions->close(sink.mapped());
}

/// Whether a run is about what the node has, or was asked to make: the process' own node may say what it likes.
bool is_of_its_own(Self self, const RunRecord& run) {
  const auto& [nodes, sandboxes, templates, boards, makers, is_local] = self->state.listeners;
  const auto& node_id = self->state.node_id;
  if (const auto known = boards->runs.find(run.id))
    return known->node_id == node_id && known->owner == run.owner && known->subject == run.subject;
  if (is_local) return true;
  if (const auto sandbox = boards->sandboxes.find(run.subject))
    return sandbox->node_id == node_id && sandbox->owner == run.owner;
  if (run.subject.starts_with("sb-")) return false;
  const auto key = template_key(run.owner, run.subject);
  const auto maker = makers->find(key);
  const auto entry = boards->templates.find(key);
  if (run.pipeline == "warmup") return (maker && *maker == node_id) || (entry && entry->operation_id == run.id);
  // Of what it keeps ready for an owner, who must be one.
  return std::ranges::any_of(boards->templates.all(), [&](const auto& other) { return other->owner == run.owner; });
}

/// What a node says of runs is about its own: another's record is not its to change. Published at once: who is
/// answered next finds them.
void take_runs(Self self, std::vector<RunRecord>& runs) {
  auto& state = self->state;
  for (auto& run : runs) {
    if (!is_of_its_own(self, run)) continue;
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
  state.questions.emplace(self, node_is_lost(state.node_id, "its connection was ended"));
  self->monitor(state.face);
  self->monitor(state.listeners.nodes);
  // The node may send it anything.
  self->set_default_handler(caf::drop);
  self->set_error_handler([](caf::error&) {});
  self->set_down_handler([self](const caf::down_msg& down) { went_down(self, down); });
  self->set_exit_handler([self](const caf::exit_msg&) {
    lose(self, "its connection was closed");
    self->quit();
  });
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
      [self](open_atom atom, const std::string& id, const StreamRequest& request, const StreamSink& sink) {
        return open(self, atom, id, request, sink);
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
        if (!is_of_the_node(self) || !is_fit(self, beat)) return;
        auto& state = self->state;
        state.heard = self->clock().now();
        self->send(state.listeners.nodes, atom, state.node_id, state.epoch, std::move(beat));
      },
      [self](news_atom atom, NodeNews& news) {
        if (!is_of_the_node(self) || !is_fit(self, news)) return;
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
        if (!is_ours(self)) return;
        auto& listeners = self->state.listeners;
        (of_templates ? listeners.templates : listeners.sandboxes) = directory;
      },
      [self](lost_atom, const std::string& reason) {
        if (is_ours(self)) lose(self, reason);
      },
      [self](tick_atom atom) {
        if (!is_ours(self)) return;
        auto& state = self->state;
        const auto now = self->clock().now();
        if (state.lost && now - state.lost_at >= kLostKept) return self->quit();
        if (!state.listeners.is_local && now - state.heard > kNodeSilence)
          lose(self, "it said nothing for " + std::to_string(kNodeSilence.count()) + " s");
        self->delayed_send(self, kNodeBeat, atom);
      },
  };
}

}  // namespace nanobox
