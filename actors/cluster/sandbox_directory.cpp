#include "actors/cluster/sandbox_directory.hpp"

#include <algorithm>

#include "actors/cluster/node_session.hpp"
#include "actors/cluster/placed_sandbox.hpp"
#include "actors/cluster/sandbox_directory_steps.hpp"
#include "actors/record_tables.hpp"
#include "actors/serving_template.hpp"
#include "config/log.hpp"
#include "config/random_bytes.hpp"
#include "pipeline/cluster/lineage/lineage_artifacts.hpp"
#include "pipeline/cluster/placement/placement.hpp"

namespace nanobox {

namespace {

using Self = SandboxDirectorySelf;
using Node = SandboxDirectoryState::Node;
using Creating = SandboxDirectoryState::Creating;

constexpr std::chrono::minutes kCreateDeadline{6};
constexpr std::chrono::seconds kShort{100};
constexpr std::size_t kAttempts = 3;
constexpr std::size_t kGoneKept = 100'000;

/// What the sandbox takes of its node now.
Amounts share_of(const Sandbox& sandbox) {
  if (sandbox.status == SandboxStatus::failed || sandbox.status == SandboxStatus::paused) return {};
  return amounts_of(sandbox.resources, 0);
}

void forget(Self self, const std::string& id) {
  auto& state = self->state;
  SandboxDirectoryState::Gone left;
  if (const auto known = state.sandboxes.find(id); known != state.sandboxes.end())
    left = {.node_id = known->second.node_id, .owner = known->second.owner};
  state.view.release(id);
  state.children_due.erase(id);
  state.control->boards->sandboxes.erase(id);
  drop_copies(self, id);
  if (state.sandboxes.erase(id) != 0) flush_soon(self, id);
  if (state.gone.emplace(id, std::move(left)).second) state.gone_order.push_back(id);
  while (state.gone_order.size() > kGoneKept) {
    state.gone.erase(state.gone_order.front());
    state.gone_order.pop_front();
  }
}

/// The records of sandboxes that ended, on the board and, but for those that this process' own node keeps, in the
/// store.
void note_deaths(Self self, std::vector<SandboxDeath> deaths) {
  auto& state = self->state;
  std::erase_if(deaths, [&](const SandboxDeath& death) { return !state.deaths->is_news(death); });
  std::vector<RecordChange> changes;
  for (const auto& death : deaths)
    if (death.node_id != state.control->local_node_id || death.cause == DeathCause::node_lost)
      changes.push_back(state.deaths->change_for(death));
  if (auto stored = state.control->store->commit(changes); !stored)
    log_error(LogComponent::cluster, {}, "{}", describe(stored.error()));
  for (auto& death : deaths) state.deaths->show(std::move(death));
}

/// Whether the sandbox was that node's when it ended there, as far as is known.
bool may_have_ended_there(Self self, const std::string& node_id, const SandboxDeath& death) {
  const auto& state = self->state;
  if (const auto known = state.sandboxes.find(death.id); known != state.sandboxes.end())
    return known->second.node_id == node_id && known->second.owner == death.owner;
  if (const auto gone = state.gone.find(death.id); gone != state.gone.end() && !gone->second.node_id.empty())
    return gone->second.node_id == node_id && gone->second.owner == death.owner;
  return node_id == state.control->local_node_id;
}

void take_deaths(Self self, const std::string& node_id, std::vector<SandboxDeath> deaths) {
  std::erase_if(deaths, [&](const SandboxDeath& death) { return !may_have_ended_there(self, node_id, death); });
  const auto now = wall_now();
  for (auto& death : deaths) {
    death.ended_at = std::min(death.ended_at, now);  // its clock may be ahead
    if (const auto known = self->state.sandboxes.find(death.id); known != self->state.sandboxes.end())
      death.created_at = known->second.created_at;
  }
  note_deaths(self, std::move(deaths));
}

/// Nobody hears of it again: its node is away, and it is not wanted any more.
void note_lost(Self self, const std::string& id, const std::string& reason) {
  const auto known = self->state.sandboxes.find(id);
  if (known == self->state.sandboxes.end() || known->second.status == SandboxStatus::creating) return;
  const auto& sandbox = known->second;
  note_deaths(self, {{.id = id,
                      .owner = sandbox.owner,
                      .template_name = sandbox.template_name,
                      .node_id = sandbox.node_id,
                      .cause = DeathCause::node_lost,
                      .reason = reason,
                      .boot_path = sandbox.boot_path,
                      .resources = sandbox.resources,
                      .created_at = sandbox.created_at,
                      .ended_at = wall_now(),
                      .console = {},
                      .usage = {}}});
}

/// Whether it is a child that the node was asked to make, which is due no more then.
bool take_due_child(Self self, const std::string& node_id, const Sandbox& sandbox) {
  auto& state = self->state;
  const auto parent = state.sandboxes.find(sandbox.parent);
  const auto due = state.children_due.find(sandbox.parent);
  if (due == state.children_due.end() || parent == state.sandboxes.end() || parent->second.owner != sandbox.owner)
    return false;
  auto& of_node = due->second[node_id];
  if (of_node == 0) return false;
  --of_node;
  return true;
}

// --- Nodes

NodeReport report_of(const Node& node) {
  const auto& status = node.status;
  NodeReport report{.node_id = status.node_id,
                    .capacity = {.vcpu = status.capacity.vcpu,
                                 .memory_mb = status.capacity.memory_mb,
                                 .disk_mb = status.capacity.disk_mb,
                                 .addresses = status.capacity.addresses},
                    .overcommit = {.vcpu = status.capacity.vcpu_overcommit, .disk = status.capacity.disk_overcommit},
                    .outside = {},
                    .vmms = {status.vmm},
                    .cpu_features = {status.machine},
                    .rootfs = {},
                    .snapshots = {},
                    .pools = {},
                    .has_overlay = !status.overlay_addr.empty(),
                    .at = status.last_heartbeat_at};
  for (const auto& [key, entry] : node.templates) {
    if (!entry.usable()) continue;
    report.rootfs.push_back(entry.rootfs.identity);
    if (entry.snapshot_status == SnapshotStatus::ready) report.snapshots.push_back(entry.snapshot_key);
  }
  for (const auto& pool : status.pools) {
    const auto key = template_key(pool.owner, pool.template_name);
    const auto entry = node.templates.find(key);
    if (entry != node.templates.end())
      report.pools[key] = {.ready = pool.ready, .each = amounts_of(entry->second.resources)};
  }
  return report;
}

void update_view(Self self, Node& node) {
  auto& view = self->state.view;
  view.report(report_of(node));
  (void)view.set_state(node.status.node_id, node.connected ? node.status.state : NodeState::lost);
  (void)view.set_cordoned(node.status.node_id, node.status.cordoned);
}

std::vector<std::string> arrived(Self self, const NodeStatus& status, const NodeSessionActor& session,
                                 std::vector<Sandbox>& sandboxes, const std::vector<Template>& templates,
                                 const std::vector<std::string>& kept_states) {
  auto& state = self->state;
  auto& node = state.nodes[status.node_id];
  node.status = status;
  node.session = session;
  node.connected = true;
  self->monitor(session);
  self->send(session, start_atom_v, NewsSinkActor(SandboxDirectoryActor(self)), false);
  node.templates.clear();
  for (const auto& entry : templates) node.templates[template_key(entry.owner, entry.name)] = entry;
  update_view(self, node);
  std::vector<std::string> to_end;
  std::set<std::string> there;
  for (auto& sandbox : sandboxes) {
    there.insert(sandbox.id);
    sandbox.node_id = status.node_id;
    // Its revision may be lower than what we know where the node lost its latest writes: the node is right.
    if (is_its_own(self, status.node_id, sandbox.id)) state.sandboxes.at(sandbox.id).revision = 0;
    if (!take_word(self, status.node_id, sandbox)) to_end.push_back(sandbox.id);
  }
  // What it was told to end and does not have any more needs no further telling.
  std::vector<std::string> ended;
  for (const auto& [id, nodes] : state.left_with)
    if (nodes.contains(status.node_id) && !there.contains(id)) ended.push_back(id);
  for (const auto& id : ended) ended_there(self, status.node_id, id);
  copies_arrived(self, status.node_id, kept_states, there);
  std::vector<std::string> missing_there;
  for (const auto& [id, sandbox] : state.sandboxes)
    if (sandbox.node_id == status.node_id && !there.contains(id) && !state.creating.contains(id) &&
        !state.unadopted.contains(id))
      missing_there.push_back(id);
  for (const auto& id : missing_there) {
    log_info(LogComponent::cluster, {{"sandbox", id}}, "its node came back without it");
    forget(self, id);  // it tells why, where it knows that
  }
  return to_end;
}

void departed(Self self, const std::string& node_id, std::uint64_t epoch, const std::string& reason) {
  auto& state = self->state;
  const auto found = state.nodes.find(node_id);
  if (found == state.nodes.end() || found->second.status.epoch != epoch) return;
  auto& node = found->second;
  node.connected = false;
  node.status.reason = reason;
  update_view(self, node);
  for (const auto& [id, sandbox] : state.sandboxes)
    if (sandbox.node_id == node_id) show(self, sandbox);
  for (const auto& [id, copies] : state.copies)
    if (copies.nodes.contains(node_id)) state.uncopied.insert(id);  // others may have one
}

void take_news(Self self, const std::string& node_id, std::uint64_t epoch, NodeNews& news) {
  auto& state = self->state;
  const auto found = state.nodes.find(node_id);
  if (found == state.nodes.end() || found->second.status.epoch != epoch || !found->second.connected) return;
  auto& node = found->second;
  for (auto& sandbox : news.sandboxes) {
    sandbox.node_id = node_id;
    if (!take_word(self, node_id, sandbox) && sandbox.status == SandboxStatus::running) end_on(self, node, sandbox.id);
  }
  // Before it is forgotten whose they were.
  if (!news.deaths.empty()) take_deaths(self, node_id, std::move(news.deaths));
  for (const auto& id : news.gone_sandboxes) {
    ended_there(self, node_id, id);
    if (is_its_own(self, node_id, id) && !state.creating.contains(id) && !state.unadopted.contains(id))
      forget(self, id);
  }
  for (auto& entry : news.templates) node.templates[template_key(entry.owner, entry.name)] = std::move(entry);
  for (const auto& key : news.gone_templates) node.templates.erase(key);
  if (!news.templates.empty() || !news.gone_templates.empty()) update_view(self, node);
}

/// What still runs on a node whose time to drain is over is paused.
void pause_drained(Self self) {
  auto& state = self->state;
  for (auto& [node_id, node] : state.nodes) {
    if (node.drain_seen != node.status.drain_until) node.drained = false;
    node.drain_seen = node.status.drain_until;
    if (!node.connected || !node.status.draining || node.drained || !node.status.drain_until ||
        *node.status.drain_until > wall_now())
      continue;
    node.drained = true;
    for (const auto& [id, sandbox] : state.sandboxes) {
      if (sandbox.node_id != node_id || sandbox.status != SandboxStatus::running) continue;
      self->request(node.session, kCopyDeadline, pause_atom_v, id)
          .then(
              [self, node_id = node_id, id = id](Sandbox& paused) {
                paused.node_id = node_id;
                if (paused.id != id || !is_its_own(self, node_id, id)) return;
                take(self, paused);
                move_away(self, id);
              },
              [](caf::error& error) {
                log_warn(LogComponent::cluster, {}, "{}", describe(from_caf(error, "pause a drained sandbox")));
              });
    }
  }
}

// --- Creating

Wish wish_for(Self self, const BootRequest& request, const Template& entry, const std::vector<std::string>& failed_on) {
  const auto& sandbox = request.sandbox;
  const auto group = group_place_of(self, sandbox, sandbox.id);
  return {.owner = sandbox.owner,
          .template_key = template_key(sandbox.owner, sandbox.template_name),
          .rootfs_identity = entry.rootfs.identity,
          .snapshot_key = entry.resources == sandbox.resources ? entry.snapshot_key : "",
          .resources = amounts_of(sandbox.resources, 0),
          .vmm = {},
          .cpu_features = {},
          .pinned_node = {},
          .group_node = group.node,
          .needs_overlay = group.needs_overlay,
          .excluded_nodes = failed_on,
          .way = request.way,
          .needs_rootfs = false,
          .needs_snapshot = false};
}

/// Whether another node may well do what this one could not.
bool may_work_elsewhere(const Error& error) {
  switch (error.code) {
    case ErrorCode::node_lost:
    case ErrorCode::no_capacity:
    case ErrorCode::no_address:
    case ErrorCode::network_unavailable:
    case ErrorCode::host_disk_full:
    case ErrorCode::disk_full:
    case ErrorCode::vmm_missing:
    case ErrorCode::vmm_failed:
    case ErrorCode::kernel_missing:
    case ErrorCode::guest_timeout:
    case ErrorCode::shutting_down:
    case ErrorCode::not_ready:
    case ErrorCode::template_not_ready:
    case ErrorCode::template_not_found:
    case ErrorCode::artifact_missing:
    case ErrorCode::io_failed:
    case ErrorCode::internal:
      return true;
    default:
      return false;
  }
}

Error cancelled(const std::string& id) {
  return {.code = ErrorCode::cancelled,
          .attempted = "create sandbox",
          .subject = id,
          .reason = "it was cancelled",
          .mend = ""};
}

/// @param left_on  a node that may have made it all the same, or is about to; empty: none
void create_failed(Self self, const std::string& id, Error error, const std::string& left_on = {}) {
  auto creating = self->state.creating.extract(id);
  if (creating.empty()) return;
  if (left_on.empty())
    forget(self, id);
  else
    give_up(self, id, left_on);
  if (self->state.left_with.contains(id)) (void)flush(self);  // nobody else would know that it is to end
  auto& over = creating.mapped();
  over.question.fail(over.cancelled ? cancelled(id) : over.first_error.value_or(std::move(error)));
  for (auto& remover : over.removers) remover.answer();
}

/// It was made although nobody wants it any more.
void end_unwanted(Self self, const std::string& id, const Node& node) {
  const auto ended = [self, id, node_id = node.status.node_id](bool is_gone) {
    create_failed(self, id, cancelled(id), is_gone ? "" : node_id);
  };
  self->request(node.session, kShort, remove_atom_v, id)
      .then([ended] { ended(true); },
            [ended](caf::error& error) {
              ended(from_caf(error, "end a cancelled sandbox").code == ErrorCode::sandbox_not_found);
            });
}

/// Its node stops making it, if it can yet.
void cancel(Self self, const std::string& id) {
  auto& creating = self->state.creating.at(id);
  creating.cancelled = true;
  if (const auto* node = node_of(self, creating.request.sandbox)) self->send(node->session, cancel_atom_v, id);
}

/// Which version of the template the node has yet to get, and from whom.
std::vector<TemplateOffer> offers_for(Self self, const Node& node, const Template& entry) {
  const auto key = template_key(entry.owner, entry.name);
  const auto same = [&](const Node& other) {
    const auto found = other.templates.find(key);
    return found != other.templates.end() && found->second.usable() && is_same_version(found->second, entry);
  };
  if (same(node)) return {};
  TemplateOffer offer{.entry = entry, .sources = {}};
  for (const auto& [id, other] : self->state.nodes)
    if (other.connected && !other.status.data_addr.empty() && same(other))
      offer.sources.push_back(other.status.data_addr);
  return {std::move(offer)};
}

Error broken_word(const std::string& node_id) {
  return {.code = ErrorCode::internal,
          .attempted = "create a sandbox",
          .subject = "node " + node_id,
          .reason = "it answered with another sandbox",
          .mend = "remove that node: it cannot be trusted"};
}

/// Where nothing is ready, a node that is not says best itself what it lacks.
std::string unready_node(Self self, const std::vector<std::string>& failed_on) {
  for (const auto& [node_id, node] : self->state.nodes)
    if (node.connected && node.status.state == NodeState::unready && !node.status.cordoned &&
        std::ranges::find(failed_on, node_id) == failed_on.end())
      return node_id;
  return {};
}

/// The node that the sandbox goes to, which keeps room for it.
Result<std::string> choose_node(Self self, const Creating& creating, const Template& entry) {
  auto& state = self->state;
  const auto wish = wish_for(self, creating.request, entry, creating.failed_on);
  auto decision = place(state.view, wish, state.random);
  if (decision) {
    NANOBOX_TRY(state.view.reserve(reservation_for(wish, *decision, creating.request.sandbox.id)));
    return decision->node_id;
  }
  if (auto unready = unready_node(self, creating.failed_on); !unready.empty()) return unready;
  return fail(decision.error());
}

void try_create(Self self, const std::string& id) {
  auto& state = self->state;
  auto& creating = state.creating.at(id);
  auto& sandbox = creating.request.sandbox;
  const auto entry = serving_template(*state.control->boards, sandbox);
  if (!entry) return create_failed(self, id, entry.error());
  const auto chosen = choose_node(self, creating, **entry);
  if (!chosen) return create_failed(self, id, chosen.error());
  const auto& node = state.nodes.at(*chosen);
  sandbox.node_id = *chosen;
  sandbox.status = SandboxStatus::creating;
  if (sandbox.created_at == WallTime{}) sandbox.created_at = wall_now();
  state.sandboxes[id] = sandbox;
  show(self, sandbox);
  flush_soon(self, id);

  using std::chrono::duration_cast, std::chrono::milliseconds;
  const auto waited = std::chrono::steady_clock::now() - creating.request.received;
  SandboxOrder order{.sandbox = sandbox,
                     .way = creating.request.way,
                     .waited_ms = static_cast<std::uint32_t>(duration_cast<milliseconds>(waited).count()),
                     .placement = creating.failed_on.empty() ? "" : "after " + creating.failed_on.back() + " failed",
                     .offers = offers_for(self, node, **entry)};
  self->request(node.session, kCreateDeadline, create_atom_v, std::move(order))
      .then(
          [self, id, node_id = *chosen](Sandbox& made) {
            auto& state = self->state;
            const auto found = state.creating.find(id);
            if (found == state.creating.end()) return;
            if (made.id != id || made.owner != found->second.request.sandbox.owner)
              return create_failed(self, id, broken_word(node_id), node_id);
            const auto* node = connected_node(self, node_id);
            if (found->second.cancelled && node) return end_unwanted(self, id, *node);
            if (found->second.cancelled) return create_failed(self, id, cancelled(id), node_id);
            auto creating = state.creating.extract(id);
            made.node_id = node_id;
            (void)state.view.confirm(id);
            take(self, made);
            creating.mapped().question.answer(std::move(made));
          },
          [self, id, node_id = *chosen](caf::error& failed) {
            auto& state = self->state;
            const auto found = state.creating.find(id);
            if (found == state.creating.end()) return;
            auto error = from_caf(failed, "create a sandbox");
            // Which disk is full, say, is nobody's guess.
            if (state.nodes.size() > 1 && error.subject.find(node_id) == std::string::npos)
              error.subject += (error.subject.empty() ? "on node " : " on node ") + node_id;
            state.view.release(id);
            auto& creating = found->second;
            creating.failed_on.push_back(node_id);
            // Nobody knows whether it made it: it may yet do so, when we have forgotten that it was asked.
            const auto* node = node_of(self, creating.request.sandbox);
            const bool may_have_it = says_nothing_of_it(error) || node == nullptr;
            if (!creating.first_error) creating.first_error = error;
            if (creating.cancelled || creating.failed_on.size() >= kAttempts || !may_work_elsewhere(error) ||
                state.nodes.size() < 2)
              return create_failed(self, id, error, may_have_it ? node_id : "");
            if (may_have_it) leave_behind(self, node_id, id);
            if (may_have_it && node) end_on(self, *node, id);
            log_warn(LogComponent::cluster, {{"sandbox", id}, {"node", node_id}},
                     "node {} did not make it ({}); another is tried", node_id, describe(error));
            try_create(self, id);
          });
}

caf::result<Sandbox> create(Self self, const BootRequest& request) {
  const Question<Sandbox> question(*self->state.questions, self->make_response_promise<Sandbox>());
  const auto id = request.sandbox.id;
  self->state.creating.emplace(
      id, Creating{.request = request, .question = question, .failed_on = {}, .first_error = {}, .removers = {}});
  try_create(self, id);
  return question.promise();
}

caf::result<std::string> explain(Self self, const BootRequest& request) {
  const auto entry = serving_template(*self->state.control->boards, request.sandbox);
  if (!entry) return to_caf(entry.error());
  const auto decision = place(self->state.view, wish_for(self, request, **entry, {}), self->state.random, Explain::yes);
  if (!decision) return to_caf(decision.error());
  return placement_json(*decision);
}

// --- What is done to sandboxes that are there

/// Has its node do it; `then` takes the answer before the asker gets it, `otherwise` why there is none.
template <class T, class Then, class Otherwise, class... Message>
caf::result<T> hand_on(Self self, const std::string& id, const std::string& attempted, Then then, Otherwise otherwise,
                       const Message&... message) {
  auto& state = self->state;
  const auto sandbox = state.sandboxes.find(id);
  if (sandbox == state.sandboxes.end()) return to_caf(missing_sandbox(id));
  const auto* node = node_of(self, sandbox->second);
  if (!node) return to_caf(out_of_reach(self, sandbox->second));
  Question<T> question(*state.questions, self->make_response_promise<T>());
  self->request(node->session, kCopyDeadline, message...)
      .then(
          [question, then](T& answer) mutable {
            then(answer);
            question.answer(std::move(answer));
          },
          [self, id, question, attempted, otherwise](caf::error& failed) mutable {
            const auto error = told_of_loss(self, id, from_caf(failed, attempted));
            otherwise(error);
            question.fail(error);
          });
  return question.promise();
}

template <class... Message>
caf::result<Sandbox> change(Self self, const std::string& id, const std::string& attempted, const Message&... message) {
  const auto node_id = [self, id] {
    const auto known = self->state.sandboxes.find(id);
    return known == self->state.sandboxes.end() ? std::string() : known->second.node_id;
  }();
  return hand_on<Sandbox>(
      self, id, attempted,
      [self, node_id, id](Sandbox& changed) {
        changed.node_id = node_id;
        if (changed.id == id && is_its_own(self, node_id, id)) take(self, changed);
      },
      [](const Error&) {}, message...);
}

/// Into a group only where the sandbox reaches it.
caf::result<Sandbox> change_network(Self self, const std::string& id, network_atom atom,
                                    const SandboxNetwork& network) {
  const auto& state = self->state;
  if (const auto known = state.sandboxes.find(id); known != state.sandboxes.end()) {
    auto wanted = known->second;
    wanted.network = network;
    const auto group = group_place_of(self, wanted, id);
    const auto node = state.control->boards->nodes.find(wanted.node_id);
    const bool is_elsewhere = !group.node.empty() && group.node != wanted.node_id;
    const bool lacks_overlay = group.needs_overlay && (!node || node->overlay_addr.empty());
    if (is_elsewhere || lacks_overlay)
      return to_caf({.code = ErrorCode::conflict,
                     .attempted = "change the network of sandbox",
                     .subject = id,
                     .reason = is_elsewhere
                                   ? "its group is on node " + group.node + ", which has no overlay"
                                   : "its group is on other nodes, and node " + wanted.node_id + " has no overlay",
                     .mend = "make it anew in that group, or set [cluster] overlay_iface on all nodes"});
  }
  return change(self, id, "change the sandbox's network", atom, id, network);
}

/// Its name is one of all nodes together.
caf::result<Template> snapshot(Self self, const std::string& id, snapshot_atom atom, const std::string& name) {
  auto& state = self->state;
  const auto sandbox = state.sandboxes.find(id);
  if (sandbox != state.sandboxes.end() &&
      state.control->boards->templates.find(template_key(sandbox->second.owner, name)))
    return to_caf({.code = ErrorCode::conflict,
                   .attempted = "publish template",
                   .subject = name,
                   .reason = "there is a template of that name",
                   .mend = "use another name, or delete it first"});
  if (sandbox == state.sandboxes.end()) return to_caf(missing_sandbox(id));
  const auto key = template_key(sandbox->second.owner, name);
  state.control->template_makers->publish(key, sandbox->second.node_id);
  return hand_on<Template>(
      self, id, "make a template of the sandbox", [](Template&) {},
      [makers = state.control->template_makers, key](const Error& error) {
        if (!says_nothing_of_it(error)) makers->erase(key);
      },
      atom, id, name);
}

caf::result<void> remove(Self self, const std::string& id) {
  auto& state = self->state;
  if (const auto creating = state.creating.find(id); creating != state.creating.end()) {
    const Question<void> question(*state.questions, self->make_response_promise<void>());
    creating->second.removers.push_back(question);
    cancel(self, id);
    return question.promise();
  }
  const auto sandbox = state.sandboxes.find(id);
  if (sandbox == state.sandboxes.end()) return to_caf(missing_sandbox(id));
  const auto node_id = sandbox->second.node_id;
  const auto* node = node_of(self, sandbox->second);
  if (!node) {
    note_lost(self, id, "it was deleted while its node " + node_id + " was lost");
    give_up(self, id, node_id);
    return caf::unit;
  }
  Question<void> question(*state.questions, self->make_response_promise<void>());
  self->request(node->session, kShort, remove_atom_v, id)
      .then(
          [self, id, question]() mutable {
            forget(self, id);
            question.answer();
          },
          [self, id, node_id, question](caf::error& failed) mutable {
            const auto error = from_caf(failed, "end the sandbox");
            const bool is_known = self->state.sandboxes.contains(id);
            if (is_known && error.code == ErrorCode::sandbox_not_found)
              forget(self, id);
            else if (is_known && error.code == ErrorCode::node_lost) {
              note_lost(self, id, "its node " + node_id + " was lost when it was deleted");
              give_up(self, id, node_id);
            } else
              return question.fail(error);
            question.answer();
          });
  return question.promise();
}

Result<void> load(Self self) {
  auto& state = self->state;
  for (const auto& record : NANOBOX_TRY(all_records(*state.control->store, kPlacedSandboxKind))) {
    auto placed = placed_sandbox_from_record(record.value);
    if (!placed) continue;
    if (!placed->left_with.empty()) state.left_with[record.key] = {placed->left_with.begin(), placed->left_with.end()};
    if (placed->given_up) {
      state.gone.emplace(record.key, SandboxDirectoryState::Gone());
      continue;
    }
    state.sandboxes[record.key] = placed->sandbox;
    if (!placed->copies.empty())
      state.copies[record.key] = {.saved = saved_name(placed->sandbox),
                                  .nodes = {placed->copies.begin(), placed->copies.end()}};
    show(self, placed->sandbox);
  }
  // What a former directory showed and did not store is told anew by its nodes, or ended there.
  auto& board = state.control->boards->sandboxes;
  for (const auto& shown : board.all())
    if (!state.sandboxes.contains(shown->id)) board.erase(shown->id);
  return {};
}

}  // namespace

// --- What the directory's parts use too

Error missing_sandbox(const std::string& id) {
  return {.code = ErrorCode::sandbox_not_found,
          .attempted = "find sandbox",
          .subject = id,
          .reason = "there is none with that id",
          .mend = "GET /api/v1/sandboxes lists them"};
}

const Node* connected_node(Self self, const std::string& node_id) {
  const auto node = self->state.nodes.find(node_id);
  return node != self->state.nodes.end() && node->second.connected ? &node->second : nullptr;
}

const Node* node_of(Self self, const Sandbox& sandbox) {
  return connected_node(self, sandbox.node_id);
}

Error out_of_reach(Self self, const Sandbox& sandbox) {
  const auto node = self->state.nodes.find(sandbox.node_id);
  std::string reason = "its node " + sandbox.node_id + " is lost";
  if (node != self->state.nodes.end() && !node->second.status.reason.empty())
    reason += ": " + node->second.status.reason;
  const auto holder = copy_holder(self, sandbox);
  if (!holder.empty()) reason += "; node " + holder + " has a copy of its saved state";
  return {.code = ErrorCode::sandbox_lost,
          .attempted = "use sandbox",
          .subject = sandbox.id,
          .reason = std::move(reason),
          .mend = holder.empty() ? "it is back as it was if the node comes back; else make another sandbox"
                                 : "resume it: it goes on there",
          .transient = true};
}

GroupPlace group_place_of(Self self, const Sandbox& wanted, const std::string& but) {
  GroupPlace place;
  if (wanted.network.mode != "internal") return place;
  for (const auto& [id, sandbox] : self->state.sandboxes) {
    if (id == but || sandbox.owner != wanted.owner || sandbox.network.mode != "internal" ||
        sandbox.network.group != wanted.network.group || sandbox.status == SandboxStatus::failed)
      continue;
    const auto node = self->state.control->boards->nodes.find(sandbox.node_id);
    if (!node || node->overlay_addr.empty()) return {.node = sandbox.node_id, .needs_overlay = false};
    place.needs_overlay = true;
  }
  return place;
}

Error told_of_loss(Self self, const std::string& id, Error error) {
  // A connection that ends takes its session along: what that meant is that the node is lost.
  if (error.code != ErrorCode::shutting_down) return error;
  const auto sandbox = self->state.sandboxes.find(id);
  if (sandbox == self->state.sandboxes.end() || node_of(self, sandbox->second)) return error;
  return out_of_reach(self, sandbox->second);
}

void flush_soon(Self self, const std::string& id) {
  self->state.unsaved.insert(id);
  if (!std::exchange(self->state.flushing, true)) self->send(self, flush_atom_v);
}

Result<void> flush(Self self) {
  auto& state = self->state;
  state.flushing = false;
  std::vector<RecordChange> changes;
  const auto ids = std::exchange(state.unsaved, {});
  for (const auto& id : ids) {
    RecordChange change{.kind = std::string(kPlacedSandboxKind), .key = id, .expect = {}, .owner = {}, .value = {}};
    const auto left = state.left_with.find(id);
    std::vector<std::string> left_with;
    if (left != state.left_with.end()) left_with.assign(left->second.begin(), left->second.end());
    if (const auto known = state.sandboxes.find(id); known != state.sandboxes.end()) {
      PlacedSandbox placed{.sandbox = known->second, .left_with = std::move(left_with)};
      if (const auto copies = state.copies.find(id); copies != state.copies.end())
        placed.copies.assign(copies->second.nodes.begin(), copies->second.nodes.end());
      change.owner = known->second.owner;
      change.value = to_record(placed);
    } else if (!left_with.empty()) {
      PlacedSandbox placed{.sandbox = {}, .given_up = true, .left_with = std::move(left_with)};
      placed.sandbox.id = id;
      change.value = to_record(placed);
    }
    changes.push_back(std::move(change));
  }
  auto stored = state.control->store->commit(changes);
  if (!stored) {
    log_error(LogComponent::cluster, {}, "{}", describe(stored.error()));
    state.unsaved.insert(ids.begin(), ids.end());
    state.flushing = true;
    self->delayed_send(self, kNodeBeat, flush_atom_v);
    return fail(stored.error());
  }
  return {};
}

void show(Self self, const Sandbox& sandbox) {
  auto& board = self->state.control->boards->sandboxes;
  if (node_of(self, sandbox)) return board.publish(sandbox.id, sandbox);
  Sandbox lost = sandbox;
  if (lost.status != SandboxStatus::failed) {
    lost.status = SandboxStatus::lost;
    lost.reason = out_of_reach(self, sandbox).reason;
  }
  board.publish(sandbox.id, std::move(lost));
}

void take(Self self, const Sandbox& sandbox) {
  auto& state = self->state;
  const auto known = state.sandboxes.find(sandbox.id);
  if (known != state.sandboxes.end() && known->second.node_id == sandbox.node_id &&
      (known->second.revision > sandbox.revision || known->second.owner != sandbox.owner))
    return;
  // An answer from before the resume that was marked meanwhile.
  if (known != state.sandboxes.end() && known->second.node_id == sandbox.node_id &&
      known->second.revision == sandbox.revision && known->second.status == SandboxStatus::resuming &&
      sandbox.status == SandboxStatus::paused)
    return;
  if (!state.creating.contains(sandbox.id))
    (void)state.view.adopt({.sandbox_id = sandbox.id,
                            .node_id = sandbox.node_id,
                            .owner = sandbox.owner,
                            .resources = share_of(sandbox),
                            .from_pool = {}});
  const auto copies = state.copies.find(sandbox.id);
  if (copies != state.copies.end() && sandbox.status != SandboxStatus::resuming &&
      !(sandbox.status == SandboxStatus::paused && copies->second.saved == saved_name(sandbox)))
    drop_copies(self, sandbox.id);
  state.sandboxes[sandbox.id] = sandbox;
  if (sandbox.status == SandboxStatus::paused) state.uncopied.insert(sandbox.id);
  show(self, sandbox);
  flush_soon(self, sandbox.id);
}

bool is_its_own(Self self, const std::string& node_id, const std::string& id) {
  const auto& state = self->state;
  if (state.gone.contains(id)) return false;
  if (const auto left = state.left_with.find(id); left != state.left_with.end() && left->second.contains(node_id))
    return false;
  const auto known = state.sandboxes.find(id);
  return known != state.sandboxes.end() && known->second.node_id == node_id;
}

bool says_nothing_of_it(const Error& error) {
  return error.code == ErrorCode::deadline_exceeded || error.code == ErrorCode::node_lost;
}

void expect_children(Self self, const std::string& node_id, const std::string& parent, std::uint32_t count) {
  self->state.children_due[parent][node_id] += count;
}

void children_failed(Self self, const std::string& node_id, const std::string& parent, std::uint32_t count,
                     const Error& error) {
  const auto due = self->state.children_due.find(parent);
  if (due == self->state.children_due.end() || says_nothing_of_it(error)) return;
  auto& of_node = due->second[node_id];
  of_node -= std::min(of_node, count);
}

bool take_word(Self self, const std::string& node_id, const Sandbox& sandbox) {
  auto& state = self->state;
  // Its saved state is its own and nobody else's.
  if (!sandbox.lineage.paused_state.empty() && sandbox_of_saved(saved_name(sandbox)) != sandbox.id) return false;
  if (is_its_own(self, node_id, sandbox.id)) {
    if (state.sandboxes.at(sandbox.id).owner != sandbox.owner) return false;
    take(self, sandbox);
    return true;
  }
  const auto left = state.left_with.find(sandbox.id);
  if (state.sandboxes.contains(sandbox.id) || state.gone.contains(sandbox.id) ||
      (left != state.left_with.end() && left->second.contains(node_id)))
    return false;
  if (!take_due_child(self, node_id, sandbox) && node_id != state.control->local_node_id) return false;
  take(self, sandbox);
  return true;
}

void leave_behind(Self self, const std::string& node_id, const std::string& id) {
  self->state.left_with[id].insert(node_id);
  flush_soon(self, id);
}

void ended_there(Self self, const std::string& node_id, const std::string& id) {
  auto& state = self->state;
  const auto left = state.left_with.find(id);
  if (left == state.left_with.end() || left->second.erase(node_id) == 0) return;
  if (left->second.empty()) state.left_with.erase(left);
  flush_soon(self, id);
}

void give_up(Self self, const std::string& id, const std::string& node_id) {
  leave_behind(self, node_id, id);
  forget(self, id);
  (void)flush(self);  // nobody else would know that its node has yet to end it
  if (const auto* node = connected_node(self, node_id)) end_on(self, *node, id);
}

void end_on(Self self, const Node& node, const std::string& id) {
  log_info(LogComponent::cluster, {{"sandbox", id}, {"node", node.status.node_id}},
           "node {} has no more business with it; it is ended there", node.status.node_id);
  self->request(node.session, kShort, remove_atom_v, id)
      .then([self, node_id = node.status.node_id, id] { ended_there(self, node_id, id); },
            [self, node_id = node.status.node_id, id](caf::error& error) {
              const auto why = from_caf(error, "end a sandbox that is another node's");
              if (why.code == ErrorCode::sandbox_not_found)
                ended_there(self, node_id, id);
              else
                log_warn(LogComponent::cluster, {{"sandbox", id}, {"node", node_id}}, "{}", describe(why));
            });
}

SandboxDirectoryActor::behavior_type sandbox_directory(Self self, SharedControl control) {
  auto& state = self->state;
  state.control = std::move(control);
  std::uint64_t seed = 0;
  fill_random(std::as_writable_bytes(std::span(&seed, 1)));
  state.random = RandomBits(seed);
  state.questions.emplace(self, directory_died("sandbox_directory"));
  // A session says its end to the registry; one that was killed, or whose registry died, says nothing.
  self->set_down_handler([self](const caf::down_msg& down) {
    for (const auto& [node_id, node] : self->state.nodes)
      if (node.connected && node.session.address() == down.source)
        return departed(self, std::string(node_id), node.status.epoch, "its connection was ended");
  });
  state.deaths.emplace(state.control->store, kPlacedDeathKind, state.control->boards->deaths);
  if (auto loaded = state.deaths->load(); !loaded) log_error(LogComponent::cluster, {}, "{}", describe(loaded.error()));
  if (auto loaded = load(self); !loaded) log_error(LogComponent::cluster, {}, "{}", describe(loaded.error()));
  self->delayed_send(self, kNodeBeat, tick_atom_v);
  return {
      [self](cancel_atom, const std::string& id) {
        if (self->state.creating.contains(id)) cancel(self, id);
      },
      [self](remove_atom, const std::string& id) { return remove(self, id); },
      [self](keep_atom atom, const std::string& id, std::uint32_t timeout_sec) {
        return change(self, id, "keep the sandbox alive", atom, id, timeout_sec);
      },
      [self](network_atom atom, const std::string& id, const SandboxNetwork& network) {
        return change_network(self, id, atom, network);
      },
      [self](pause_atom atom, const std::string& id) { return change(self, id, "pause the sandbox", atom, id); },
      [self](resume_atom, const std::string& id) { return resume(self, id); },
      [self](fork_atom, const std::string& id, std::uint32_t count) { return fork(self, id, count); },
      [self](snapshot_atom atom, const std::string& id, const std::string& name) {
        return snapshot(self, id, atom, name);
      },
      [self](create_atom, const BootRequest& request) { return create(self, request); },
      [self](place_atom, const BootRequest& request) { return explain(self, request); },
      [self](hello_atom, const NodeStatus& node, const NodeSessionActor& session, std::vector<Sandbox>& sandboxes,
             const std::vector<Template>& templates, const std::vector<std::string>& kept_states) {
        return arrived(self, node, session, sandboxes, templates, kept_states);
      },
      [self](node_atom, const NodeStatus& status) {
        const auto node = self->state.nodes.find(status.node_id);
        if (node == self->state.nodes.end() || node->second.status.epoch != status.epoch) return;
        node->second.status = status;
        update_view(self, node->second);
      },
      [self](lost_atom, const std::string& node_id, std::uint64_t epoch, const std::string& reason) {
        departed(self, node_id, epoch, reason);
      },
      [self](news_atom, const std::string& node_id, std::uint64_t epoch, NodeNews& news) {
        take_news(self, node_id, epoch, news);
      },
      [self](remove_atom, const std::string& node_id, bool) {
        auto& state = self->state;
        std::vector<std::string> ids;
        for (const auto& [id, sandbox] : state.sandboxes)
          if (sandbox.node_id == node_id) ids.push_back(id);
        for (const auto& id : ids) note_lost(self, id, "its node " + node_id + " was removed");
        for (const auto& id : ids) forget(self, id);
        ids.clear();
        for (const auto& [id, nodes] : state.left_with)
          if (nodes.contains(node_id)) ids.push_back(id);
        for (const auto& id : ids) ended_there(self, node_id, id);
        state.nodes.erase(node_id);
        (void)state.view.remove(node_id);
      },
      [self](flush_atom) { (void)flush(self); },
      [self](tick_atom atom) {
        pause_drained(self);
        look_after_copies(self);
        if (auto expired = self->state.deaths->expire(wall_now()); !expired)
          log_error(LogComponent::cluster, {}, "{}", describe(expired.error()));
        self->delayed_send(self, kNodeBeat, atom);
      },
  };
}

}  // namespace nanobox
