#include "actors/cluster/event_log.hpp"

#include "pipeline/events/log_entry.hpp"

namespace nanobox {

namespace {

using Self = caf::stateful_actor<EventLogState>*;

/// Whether it follows from the loss of the node in this process: the daemon stops, or the supervisor has logged why.
bool is_of_own_loss(const ControlServices& control, const NewEvent& event, const LogEntry& entry) {
  if (event.node_id.empty() || event.node_id != control.local_node_id || entry.level < LogLevel::warn) return false;
  const auto node = control.boards->nodes.find(event.node_id);
  return node && node->state == NodeState::lost;
}

/// Whether somebody else has logged it: the run that failed, or the supervisor that is in this process.
bool is_logged(const ControlServices& control, const NewEvent& event, const LogEntry& entry) {
  if (event.type == "supervision.restarted") return event.node_id.empty() || event.node_id == control.local_node_id;
  if (is_of_own_loss(control, event, entry)) return true;
  if (event.type != "template.failed") return false;
  const auto run = control.boards->runs.find(entry.run);
  return run && run->status == RunStatus::failed;
}

void tell(Self self, ChangeLog::Events events) {
  const auto& control = *self->state.control;
  for (auto& event : events) {
    if (const auto entry = log_entry(event); !is_logged(control, event, entry)) write_log(entry);
    control.events->add(std::move(event));
  }
}

/// Hands what is published over to the actor.
template <class T>
auto hand_over(Self self) {
  return [who = self->address()](const std::string& key, const typename Board<T>::Value& value) {
    if (const auto actor = caf::actor_cast<caf::actor>(who)) caf::anon_send(actor, BoardChange<T>{key, value});
  };
}

/// Only what makes an event or a line of the log: progress comes many times a second.
bool matters(const RunRecord* run) {
  if (run == nullptr) return false;
  return run->status == RunStatus::failed || (run->pipeline == "warmup" && run->status == RunStatus::running);
}

void take_sandbox(Self self, const std::string& id, const Sandbox* sandbox) {
  auto& state = self->state;
  const auto now = ChangeLog::Clock::now();
  if (sandbox != nullptr)
    tell(self, state.changes->sandbox(*sandbox));
  else
    tell(self, state.changes->sandbox_gone(id, state.control->boards->deaths.find(id).get(), now));
  if (state.changes->awaits_causes() && !std::exchange(state.ticking, true))
    self->delayed_send(self, ChangeLog::kCauseWait, tick_atom_v);
}

void take_template(Self self, const std::string& key, const Template* entry) {
  if (entry != nullptr) return tell(self, self->state.changes->entry(*entry));
  const auto slash = key.find('/');
  tell(self, self->state.changes->entry_gone(key.substr(0, slash), key.substr(slash + 1)));
}

void take_node(Self self, const std::string& id, const NodeStatus* node) {
  tell(self, node != nullptr ? self->state.changes->node(*node) : self->state.changes->node_gone(id));
}

void take_concern(Self self, const ConcernHealth* health) {
  if (health != nullptr) tell(self, self->state.changes->concern(health->concern, health->restarts, health->reason));
}

/// Whether a newer value of the key is known from catching up, and a message about it follows.
template <class T>
bool is_stale(Self self, const Board<T>& board, const BoardChange<T>& change) {
  return !self->state.caught_up && board.find(change.key) != change.value;
}

/// What changed before the boards were watched.
void catch_up(Self self) {
  const auto& boards = *self->state.control->boards;
  const auto& changes = *self->state.changes;
  for (const auto& node : boards.nodes.all()) take_node(self, node->node_id, node.get());
  for (const auto& id : changes.nodes())
    if (!boards.nodes.find(id)) take_node(self, id, nullptr);
  for (const auto& entry : boards.templates.all())
    take_template(self, template_key(entry->owner, entry->name), entry.get());
  for (const auto& [owner, name] : changes.entries())
    if (const auto key = template_key(owner, name); !boards.templates.find(key)) take_template(self, key, nullptr);
  for (const auto& sandbox : boards.sandboxes.all()) take_sandbox(self, sandbox->id, sandbox.get());
  for (const auto& id : changes.sandboxes())
    if (!boards.sandboxes.find(id)) take_sandbox(self, id, nullptr);
  for (const auto& death : boards.deaths.all()) tell(self, self->state.changes->death(*death));
  for (const auto& health : boards.concerns.all()) take_concern(self, health.get());
}

void watch(Self self) {
  auto& state = self->state;
  auto& boards = *state.control->boards;
  state.sandboxes = boards.sandboxes.watch_all(hand_over<Sandbox>(self));
  state.deaths = boards.deaths.watch_all(hand_over<SandboxDeath>(self));
  state.templates = boards.templates.watch_all(hand_over<Template>(self));
  state.runs = boards.runs.watch_all([to_actor = hand_over<RunRecord>(self)](const std::string& id, const auto& run) {
    if (matters(run.get())) to_actor(id, run);
  });
  state.nodes = boards.nodes.watch_all(hand_over<NodeStatus>(self));
  state.concerns = boards.concerns.watch_all(hand_over<ConcernHealth>(self));
}

}  // namespace

caf::behavior event_log(Self self, SharedControl control, std::shared_ptr<ChangeLog> changes) {
  self->state.control = std::move(control);
  self->state.changes = std::move(changes);
  watch(self);
  catch_up(self);
  self->send(self, work_atom_v);
  auto& boards = *self->state.control->boards;
  return {
      [self, &boards](const BoardChange<Sandbox>& change) {
        if (!is_stale(self, boards.sandboxes, change)) take_sandbox(self, change.key, change.value.get());
      },
      [self](const BoardChange<SandboxDeath>& change) {
        if (change.value) tell(self, self->state.changes->death(*change.value));
      },
      [self, &boards](const BoardChange<Template>& change) {
        if (!is_stale(self, boards.templates, change)) take_template(self, change.key, change.value.get());
      },
      [self](const BoardChange<RunRecord>& change) {
        if (!change.value) return;
        tell(self, self->state.changes->run(*change.value));
        if (change.value->status == RunStatus::failed) write_log(failed_run_entry(*change.value));
      },
      [self, &boards](const BoardChange<NodeStatus>& change) {
        if (!is_stale(self, boards.nodes, change)) take_node(self, change.key, change.value.get());
      },
      [self](const BoardChange<ConcernHealth>& change) { take_concern(self, change.value.get()); },
      // Behind all that came while it caught up.
      [self](work_atom) { self->state.caught_up = true; },
      [self](tick_atom tick) {
        auto& state = self->state;
        tell(self, state.changes->late_ends(ChangeLog::Clock::now()));
        state.ticking = state.changes->awaits_causes();
        if (state.ticking) self->delayed_send(self, ChangeLog::kCauseWait, tick);
      },
  };
}

}  // namespace nanobox
