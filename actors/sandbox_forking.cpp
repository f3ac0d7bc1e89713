#include <algorithm>

#include "actors/disk_keeper.hpp"
#include "actors/job.hpp"
#include "actors/kept_states.hpp"
#include "actors/sandbox_saving.hpp"
#include "actors/state_age.hpp"
#include "config/id.hpp"

namespace nanobox {

namespace {

using Self = SandboxRegistrySelf;
namespace fs = std::filesystem;

constexpr std::chrono::seconds kShort{30};

using ForkPromise = caf::typed_response_promise<Forked>;

/// The children on their way: all of them, or none.
struct Children {
  std::size_t pending = 0;
  std::optional<Error> failure;
  Forked forked;
};

/// @param turn  whose turn ends with it
void children_over(Self self, const std::string& turn, RunRecord run, Children& children, ForkPromise promise,
                   const fs::path& folder) {
  self->state.half_saved.erase(folder);
  end_run(self, run, children.failure);
  if (children.failure) {
    for (const auto& child : children.forked.children)
      if (!self->state.removing.contains(child.id)) {
        self->state.removing[child.id];
        end_sandbox(self, child.id, DeathCause::failed,
                    "another child of its fork failed: " + children.failure->reason);
      }
    promise.deliver(to_caf(*children.failure));
  } else {
    std::ranges::sort(children.forked.children, {}, &Sandbox::id);
    promise.deliver(std::move(children.forked));
  }
  turn_over(self, turn);
  collect_layers(self);
}

/// @param parent  with the chain that the children get
void boot_children(Self self, const Sandbox& parent, const std::string& turn, std::uint32_t count, const RunRecord& run,
                   const Saved& saved, ForkPromise promise, std::chrono::steady_clock::time_point received) {
  auto children = std::make_shared<Children>();
  children->pending = count;
  children->forked.pause_us = saved.captured.pause_us;
  children->forked.frozen_us = saved.frozen_us;
  const auto base = memory_base(*self->state.services, parent);
  for (std::uint32_t i = 0; i < count; ++i) {
    BootRequest request{.sandbox = parent, .received = received};
    auto& child = request.sandbox;
    child.id = make_id("sb");
    child.parent = parent.id;
    child.boot_path = "fork";
    child.status = SandboxStatus::creating;
    child.generation = parent.generation + 1;
    child.created_at = wall_now();
    child.boot_time_ms.reset();
    child.ip.reset();
    child.expires_at.reset();
    child.pause_ms.reset();
    child.restore_time_ms.reset();
    child.lineage.paused_state.clear();
    child.lineage.memory_layer = saved.state.pages();
    child.state_age_ms = state_age_ms(saved.state.taken_at);
    request.from =
        BootSource{.saved = saved.state, .memory_base = base.value_or(fs::path()), .memory_layer = saved.state.pages()};
    start_boot(self, std::move(request), false, [=](Result<Sandbox> booted) {
      if (booted)
        children->forked.children.push_back(std::move(*booted));
      else if (!children->failure)
        children->failure = booted.error();
      if (--children->pending == 0) children_over(self, turn, run, *children, promise, saved.state.folder);
    });
  }
}

/// Copies of a parent whose disk's chain is too long get a shorter one. The parent's own becomes shorter when it is
/// paused and resumed. @param then  told the parent with the chain that they get
void with_short_chain(Self self, const Sandbox& parent, const Saved& saved,
                      const std::function<void(Result<Sandbox>)>& then) {
  if (parent.lineage.disk_layers.size() <= kLongestChain) return then(parent);
  auto forked = std::make_shared<Sandbox>(parent);
  const auto layer = new_layer(*self->state.services);
  self->state.half_saved.insert(layer.parent_path());
  request_job(self, kSaveDeadline,
              [services = self->state.services, forked, layer, disk_bytes = saved.state.disk_bytes]() -> Result<bool> {
                NANOBOX_TRY(shorten_chain(*services, forked->lineage.disk_layers, layer, disk_bytes));
                return true;
              })
      .then(
          [=](bool) {
            then(*forked);
            self->state.half_saved.erase(layer.parent_path());
          },
          [=](caf::error& error) {
            self->state.half_saved.erase(layer.parent_path());
            then(fail(from_caf(error, "shorten the disk's chain of " + forked->id)));
          });
}

/// The parent goes on; its children begin.
void fork_saved(Self self, const Sandbox& parent, std::uint32_t count, RunRecord run, const Saved& saved,
                ForkPromise promise, std::chrono::steady_clock::time_point received) {
  saved_stage(self, run, saved);
  with_short_chain(self, parent, saved, [=, id = parent.id](Result<Sandbox> forked) {
    if (forked) return boot_children(self, *forked, id, count, run, saved, promise, received);
    Children none;
    none.failure = forked.error();
    children_over(self, id, run, none, promise, saved.state.folder);
  });
}

/// The parent goes on; what it was is kept for other nodes.
void export_saved(Self self, const Sandbox& parent, RunRecord run, const Saved& saved, ForkPromise promise) {
  saved_stage(self, run, saved);
  with_short_chain(self, parent, saved, [=, id = parent.id](Result<Sandbox> state) mutable {
    auto kept = [&]() -> Result<Sandbox> {
      auto at_rest = NANOBOX_TRY(std::move(state));
      at_rest.lineage.paused_state = saved.state.folder;
      at_rest.lineage.memory_layer = saved.state.pages();
      return keep_state(self, std::move(at_rest));
    }();
    self->state.half_saved.erase(saved.state.folder);
    end_run(self, run, kept ? std::nullopt : std::optional(kept.error()));
    if (kept)
      promise.deliver(
          Forked{.children = {std::move(*kept)}, .pause_us = saved.captured.pause_us, .frozen_us = saved.frozen_us});
    else
      promise.deliver(to_caf(kept.error()));
    turn_over(self, id);
    collect_layers(self);
  });
}

/// @param then  told the parent as it was saved, its run and what was saved
void save_parent(Self self, const std::string& id, bool for_other_nodes, ForkPromise promise,
                 std::function<void(const Sandbox&, const RunRecord&, const Saved&)> then) {
  auto& state = self->state;
  auto parent = running(self, id, "fork");
  auto order = parent ? order_for(self, *parent, new_folder(*state.services, id)) : fail(parent.error());
  if (!order) {
    promise.deliver(to_caf(order.error()));
    return turn_over(self, id);
  }
  order->manifest = for_other_nodes;
  auto run = begin_run(self, "fork", *parent, fork_stages);
  auto failed = [self, id, run, promise, folder = order->saved.folder](const Error& error) mutable {
    self->state.half_saved.erase(folder);
    freeze_failed(self, id);
    end_run(self, run, error);
    promise.deliver(to_caf(error));
    turn_over(self, id);
    collect_layers(self);
  };
  if (auto stored = announce_freeze(self, *parent, *order); !stored) return failed(stored.error());
  self->request(state.concerns.node_agent, kSaveDeadline, capture_atom_v, id, *order)
      .then([parent = *parent, run, then = std::move(then)](const Saved& saved) { then(parent, run, saved); },
            [failed, id](caf::error& error) mutable { failed(from_caf(error, "fork sandbox " + id)); });
}

/// Before the parent stops: whether there is room for all children.
void fork_now(Self self, const std::string& id, std::uint32_t count, ForkPromise promise,
              std::chrono::steady_clock::time_point received) {
  auto refused = [self, id, promise](const caf::error& error) mutable {
    promise.deliver(error);
    turn_over(self, id);
  };
  const auto parent = running(self, id, "fork");
  if (!parent) return refused(to_caf(parent.error()));
  self->request(self->state.concerns.scheduler, kShort, place_atom_v, *parent, count)
      .then(
          [self, id, count, promise, received] {
            save_parent(self, id, false, promise, [=](const Sandbox& parent, const RunRecord& run, const Saved& saved) {
              fork_saved(self, parent, count, run, saved, promise, received);
            });
          },
          [refused](caf::error& error) mutable { refused(error); });
}

}  // namespace

caf::result<Forked> fork_sandbox(Self self, const std::string& id, std::uint32_t count) {
  auto promise = self->make_response_promise<Forked>();
  in_turn(self, id, [self, id, count, promise, received = std::chrono::steady_clock::now()] {
    fork_now(self, id, count, promise, received);
  });
  return promise;
}

caf::result<Forked> export_sandbox(Self self, const std::string& id) {
  auto promise = self->make_response_promise<Forked>();
  in_turn(self, id, [self, id, promise] {
    save_parent(self, id, true, promise, [=](const Sandbox& parent, const RunRecord& run, const Saved& saved) {
      export_saved(self, parent, run, saved, promise);
    });
  });
  return promise;
}

caf::result<Forked> fork_state(Self self, const std::string& name, std::uint32_t count) {
  const auto& services = *self->state.services;
  const auto kept = find_state(services, name);
  if (!kept) return to_caf(kept.error());
  const auto state = read_saved_state((*kept)->lineage.paused_state);
  if (!state) return to_caf(state.error());
  auto promise = self->make_response_promise<Forked>();
  const auto received = std::chrono::steady_clock::now();
  in_turn(self, name,
          [self, name, parent = **kept, saved = Saved{.captured = {}, .state = *state}, count, promise,
           received]() mutable {
            auto run = begin_run(self, "fork", parent, fork_stages);
            self->request(self->state.concerns.scheduler, kShort, place_atom_v, parent, count)
                .then(
                    [=]() mutable {
                      saved_stage(self, run, saved);
                      boot_children(self, parent, name, count, run, saved, promise, received);
                    },
                    [=](caf::error& error) mutable {
                      end_run(self, run, from_caf(error, "fork sandbox " + parent.id));
                      promise.deliver(std::move(error));
                      turn_over(self, name);
                    });
          });
  return promise;
}

}  // namespace nanobox
