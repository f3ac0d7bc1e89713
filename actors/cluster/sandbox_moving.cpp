#include <algorithm>

#include "actors/cluster/sandbox_directory_steps.hpp"
#include "config/id.hpp"
#include "config/log.hpp"
#include "pipeline/cluster/lineage/lineage_artifacts.hpp"
#include "pipeline/cluster/placement/placement.hpp"

namespace nanobox {

namespace {

using Self = SandboxDirectorySelf;
using SandboxQuestion = Question<Sandbox>;
using ForkQuestion = Question<Forked>;

constexpr std::chrono::minutes kFetchDeadline{61};
constexpr std::chrono::seconds kShort{100};

auto answer_to(const SandboxQuestion& question) {
  return [question](Result<Sandbox> resumed) {
    if (resumed)
      question.answer(std::move(*resumed));
    else
      question.fail(resumed.error());
  };
}

/// Its node resumes it. From here on a copy elsewhere, or one on its way, is older than what the node may have.
/// @param then  told what came of it
template <class Then>
void resume_there(Self self, const std::string& id, Then then) {
  auto& state = self->state;
  auto& sandbox = state.sandboxes.at(id);
  const auto before = sandbox;
  if (state.nodes.size() > 1 && sandbox.status == SandboxStatus::paused) {
    sandbox.status = SandboxStatus::resuming;
    show(self, sandbox);
    flush_soon(self, id);
    if (auto flushed = flush(self); !flushed) {
      sandbox = before;
      show(self, sandbox);
      return then(Result<Sandbox>(fail(flushed.error())));
    }
  }
  self->request(state.nodes.at(sandbox.node_id).session, kCopyDeadline, resume_atom_v, id)
      .then(
          [self, id, node_id = sandbox.node_id, then](Sandbox& resumed) mutable {
            resumed.node_id = node_id;
            if (resumed.id == id && is_its_own(self, node_id, id)) take(self, resumed);
            then(Result<Sandbox>(std::move(resumed)));
          },
          [self, id, before, then](caf::error& failed) mutable {
            const auto error = told_of_loss(self, id, from_caf(failed, "resume the sandbox"));
            const auto now = self->state.sandboxes.find(id);
            // A node that is lost may have resumed it; any other says how it is.
            if (now != self->state.sandboxes.end() && node_of(self, now->second) &&
                now->second.status == SandboxStatus::resuming && now->second.revision == before.revision) {
              now->second.status = before.status;
              show(self, now->second);
              flush_soon(self, id);
            }
            then(Result<Sandbox>(fail(error)));
          });
}

/// It turned out that the node has no copy: the sandbox is its former node's again, unless that has ended it already.
void take_back(Self self, const std::string& id, const std::string& from, const std::string& to) {
  auto& state = self->state;
  const auto sandbox = state.sandboxes.find(id);
  const auto left = state.left_with.find(id);
  if (sandbox == state.sandboxes.end() || sandbox->second.node_id != to || left == state.left_with.end() ||
      !left->second.contains(from))
    return;
  sandbox->second.node_id = from;
  state.unadopted.erase(id);
  ended_there(self, from, id);
  show(self, sandbox->second);
  flush_soon(self, id);
}

/// The sandbox is that node's from here on, which has a copy of its saved state. Stored before the node hears of it:
/// whatever fails afterwards, its former node has to end what it has.
template <class Then>
void hand_over(Self self, const std::string& id, const std::string& to, Then then) {
  auto& state = self->state;
  auto& sandbox = state.sandboxes.at(id);
  const auto from = std::exchange(sandbox.node_id, to);
  const auto saved = saved_name(sandbox);
  state.unadopted.insert(id);
  ended_there(self, to, id);  // what it has is the saved state, which counts from here on
  if (from != to) leave_behind(self, from, id);
  flush_soon(self, id);
  if (auto flushed = flush(self); !flushed) {
    sandbox.node_id = from;
    state.unadopted.erase(id);
    ended_there(self, from, id);
    return then(Result<void>(fail(flushed.error())));
  }
  if (const auto copies = state.copies.find(id); copies != state.copies.end()) copies->second.nodes.erase(to);
  show(self, sandbox);
  if (from != to) {
    log_info(LogComponent::cluster, {{"sandbox", id}, {"node", to}}, "node {} has it from now on, in place of {}", to,
             from);
    if (const auto* left = connected_node(self, from)) end_on(self, *left, id);
  }
  self->request(state.nodes.at(to).session, kShort, adopt_atom_v, saved, sandbox)
      .then(
          [self, id, to, then](Sandbox& adopted) {
            self->state.unadopted.erase(id);
            adopted.node_id = to;
            if (adopted.id == id && is_its_own(self, to, id)) take(self, adopted);
            then(Result<void>());
          },
          [self, id, from, to, then](caf::error& failed) {
            const auto error = told_of_loss(self, id, from_caf(failed, "take over the sandbox"));
            if (error.code == ErrorCode::artifact_missing) take_back(self, id, from, to);
            then(Result<void>(fail(error)));
          });
}

/// Where it is handed over first, or once more.
template <class Then>
void resume_handed_over(Self self, const std::string& id, const std::string& to, Then then) {
  hand_over(self, id, to, [self, id, then](const Result<void>& handed) {
    if (!handed) return then(Result<Sandbox>(fail(handed.error())));
    const auto sandbox = self->state.sandboxes.find(id);
    if (sandbox == self->state.sandboxes.end()) return then(Result<Sandbox>(fail(missing_sandbox(id))));
    if (!node_of(self, sandbox->second)) return then(Result<Sandbox>(fail(out_of_reach(self, sandbox->second))));
    resume_there(self, id, then);
  });
}

// --- Forks

/// The children on their way to several nodes: all of them, or none.
struct Spread {
  std::string parent;
  std::string saved;
  std::set<std::string> keepers;                ///< nodes that keep the saved state until the fork is over
  std::map<std::string, std::uint32_t> counts;  ///< by node id
  std::vector<std::string> reserved;
  std::size_t pending = 1;  ///< answers: the parent's node's, then one of each node
  std::optional<Error> failure;
  std::vector<std::pair<std::string, Sandbox>> made;  ///< on that node
  Forked forked;
};

void give_back(Self self, const Spread& plan) {
  for (const auto& name : plan.reserved) self->state.view.release(name);
}

/// How many children go where; room is kept for each, under a name of its own, until they are there.
Result<std::shared_ptr<Spread>> spread(Self self, const Sandbox& parent, std::uint32_t count) {
  auto& state = self->state;
  auto plan = std::make_shared<Spread>();
  plan->parent = parent.id;
  const auto resources = amounts_of(parent.resources, 0);
  const auto take_share = [&](const std::string& node_id) {
    const auto name = make_id("child");
    if (!state.view.reserve(
            {.sandbox_id = name, .node_id = node_id, .owner = parent.owner, .resources = resources, .from_pool = {}}))
      return false;
    plan->reserved.push_back(name);
    ++plan->counts[node_id];
    return true;
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    if (take_share(parent.node_id)) continue;
    const auto elsewhere = choose_for(self, parent, resources, {parent.node_id}, group_place_of(self, parent, ""));
    if (elsewhere && take_share(*elsewhere)) continue;
    give_back(self, *plan);
    return fail({.code = ErrorCode::no_capacity,
                 .attempted = "fork sandbox",
                 .subject = parent.id,
                 .reason = "there is room for " + std::to_string(i) + " of " + std::to_string(count) + " children",
                 .mend = "end sandboxes, fork fewer, or add nodes of the same kind",
                 .retry_after_sec = 1});
  }
  return plan;
}

void spread_over(Self self, const std::shared_ptr<Spread>& plan, ForkQuestion question) {
  give_back(self, *plan);
  self->state.exported.erase(plan->saved);
  for (auto& [node_id, child] : plan->made) {
    child.node_id = node_id;
    if (plan->failure)
      give_up(self, child.id, node_id);
    else
      (void)take_word(self, node_id, child);
    plan->forked.children.push_back(std::move(child));
  }
  for (const auto& node_id : plan->keepers) drop_on(self, node_id, plan->saved);
  if (plan->failure) return question.fail(*plan->failure);
  std::ranges::sort(plan->forked.children, {}, &Sandbox::id);
  question.answer(std::move(plan->forked));
}

void node_done(Self self, const std::shared_ptr<Spread>& plan, ForkQuestion question) {
  if (--plan->pending == 0) spread_over(self, plan, std::move(question));
}

void children_made(Self self, const std::shared_ptr<Spread>& plan, const std::string& node_id, Forked& forked,
                   ForkQuestion question) {
  for (auto& child : forked.children) plan->made.emplace_back(node_id, std::move(child));
  node_done(self, plan, std::move(question));
}

void node_failed(Self self, const std::shared_ptr<Spread>& plan, const caf::error& error, ForkQuestion question) {
  if (!plan->failure)
    plan->failure = told_of_loss(self, plan->parent, from_caf(error, "fork the sandbox to another node"));
  node_done(self, plan, std::move(question));
}

/// The children of one node, once the state is there.
void make_children(Self self, const std::shared_ptr<Spread>& plan, const std::string& node_id, ForkQuestion question) {
  const auto* node = connected_node(self, node_id);
  if (!node)
    return node_failed(self, plan,
                       to_caf({.code = ErrorCode::node_lost,
                               .attempted = "fork sandbox",
                               .subject = node_id,
                               .reason = "the node is lost",
                               .mend = "",
                               .transient = true}),
                       std::move(question));
  const auto count = plan->counts.at(node_id);
  expect_children(self, node_id, plan->parent, count);
  self->request(node->session, kCopyDeadline, create_atom_v, plan->saved, count)
      .then([self, plan, node_id, question](Forked& forked) { children_made(self, plan, node_id, forked, question); },
            [self, plan, node_id, count, question](caf::error& error) {
              children_failed(self, node_id, plan->parent, count, from_caf(error, "fork the sandbox"));
              node_failed(self, plan, error, question);
            });
}

void exported(Self self, const std::shared_ptr<Spread>& plan, const std::string& home, Forked& saved,
              ForkQuestion question) {
  auto& state = self->state;
  if (saved.children.size() != 1 || saved.children.front().id != plan->parent ||
      sandbox_of_saved(saved_name(saved.children.front())) != plan->parent)
    return node_failed(self, plan,
                       to_caf({.code = ErrorCode::internal,
                               .attempted = "fork sandbox",
                               .subject = "node " + home,
                               .reason = "it answered with another sandbox",
                               .mend = "remove that node: it cannot be trusted"}),
                       std::move(question));
  auto& exported = saved.children.front();
  exported.node_id = home;
  plan->saved = saved_name(exported);
  plan->forked.pause_us = saved.pause_us;
  plan->forked.frozen_us = saved.frozen_us;
  state.exported.insert(plan->saved);
  plan->keepers.insert(home);
  for (const auto& [node_id, count] : plan->counts) plan->keepers.insert(node_id);
  const auto offer = state_offer(self, exported);
  plan->pending = plan->counts.size();
  for (const auto& [node_id, count] : plan->counts) {
    const auto* node = connected_node(self, node_id);
    if (node_id == home || !node) {
      make_children(self, plan, node_id, question);
      continue;
    }
    self->request(node->session, kFetchDeadline, fetch_atom_v, offer)
        .then([self, plan, node_id = node_id, question] { make_children(self, plan, node_id, question); },
              [self, plan, question](caf::error& error) { node_failed(self, plan, error, question); });
  }
}

}  // namespace

caf::result<Sandbox> resume(Self self, const std::string& id) {
  auto& state = self->state;
  const auto sandbox = state.sandboxes.find(id);
  if (sandbox == state.sandboxes.end()) return to_caf(missing_sandbox(id));
  std::string holder;
  if (!node_of(self, sandbox->second)) {
    holder = copy_holder(self, sandbox->second);
    if (holder.empty()) return to_caf(out_of_reach(self, sandbox->second));
  } else if (state.unadopted.contains(id)) {
    holder = sandbox->second.node_id;
  }
  // Made last: who is refused gets no answer of a promise that was made.
  const SandboxQuestion question(*state.questions, self->make_response_promise<Sandbox>());
  if (holder.empty())
    resume_there(self, id, answer_to(question));
  else
    resume_handed_over(self, id, holder, answer_to(question));
  return question.promise();
}

void move_away(Self self, const std::string& id) {
  auto& state = self->state;
  const auto found = state.sandboxes.find(id);
  if (found == state.sandboxes.end() || found->second.status != SandboxStatus::paused) return;
  const auto& sandbox = found->second;
  const auto resources = amounts_of(sandbox.resources, 0);
  // Where a copy is already, if there is room.
  auto others = not_for(self, sandbox);
  const auto holder = copy_holder(self, sandbox);
  for (const auto& [node_id, node] : state.nodes)
    if (!holder.empty() && node_id != holder) others.push_back(node_id);
  const auto group = group_place_of(self, sandbox, id);
  auto target = choose_for(self, sandbox, resources, std::move(others), group);
  if (!target && !holder.empty()) target = choose_for(self, sandbox, resources, not_for(self, sandbox), group);
  if (!target) {
    log_warn(LogComponent::cluster, {{"sandbox", id}}, "it stays paused on its drained node: {}",
             describe(target.error()));
    return;
  }
  const auto stays = [id](const Error& error) {
    log_warn(LogComponent::cluster, {{"sandbox", id}}, "it stays paused: {}", describe(error));
  };
  const auto from = sandbox.node_id;
  const auto saved = saved_name(sandbox);
  self->request(state.nodes.at(*target).session, kFetchDeadline, fetch_atom_v, state_offer(self, sandbox))
      .then(
          [self, id, from, saved, target = *target, stays] {
            auto& state = self->state;
            const auto now = state.sandboxes.find(id);
            // Somebody resumed or deleted it meanwhile: what was copied goes when that node says that it has it.
            if (now == state.sandboxes.end() || now->second.status != SandboxStatus::paused ||
                now->second.node_id != from || saved_name(now->second) != saved || !connected_node(self, target))
              return drop_on(self, target, saved);
            resume_handed_over(self, id, target, [stays](const Result<Sandbox>& resumed) {
              if (!resumed) stays(resumed.error());
            });
          },
          [stays](caf::error& error) { stays(from_caf(error, "move it to another node")); });
}

caf::result<Forked> fork(Self self, const std::string& id, std::uint32_t count) {
  auto& state = self->state;
  const auto parent = state.sandboxes.find(id);
  if (parent == state.sandboxes.end()) return to_caf(missing_sandbox(id));
  const auto* home = node_of(self, parent->second);
  if (!home) return to_caf(out_of_reach(self, parent->second));
  // What does not run is refused by its node, in its words.
  const auto plan = spread(self, parent->second, parent->second.status == SandboxStatus::running ? count : 0);
  if (!plan) return to_caf(plan.error());
  const ForkQuestion question(*state.questions, self->make_response_promise<Forked>());
  const auto home_id = parent->second.node_id;
  const auto failed = [self, plan = *plan, question](caf::error& error) { node_failed(self, plan, error, question); };
  if (std::ranges::all_of((*plan)->counts, [&](const auto& there) { return there.first == home_id; })) {
    expect_children(self, home_id, id, count);
    self->request(home->session, kCopyDeadline, fork_atom_v, id, count)
        .then(
            [self, plan = *plan, home_id, question](Forked& forked) {
              plan->forked.pause_us = forked.pause_us;
              plan->forked.frozen_us = forked.frozen_us;
              children_made(self, plan, home_id, forked, question);
            },
            [self, home_id, id, count, failed](caf::error& error) {
              children_failed(self, home_id, id, count, from_caf(error, "fork the sandbox"));
              failed(error);
            });
    return question.promise();
  }
  self->request(home->session, kCopyDeadline, capture_atom_v, id)
      .then([self, plan = *plan, home_id, question](Forked& saved) { exported(self, plan, home_id, saved, question); },
            failed);
  return question.promise();
}

}  // namespace nanobox
