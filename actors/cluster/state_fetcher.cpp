#include "actors/cluster/state_fetcher.hpp"

#include "actors/job.hpp"
#include "actors/template_snapshot.hpp"
#include "config/log.hpp"
#include "pipeline/cluster/lineage/lineage_artifacts.hpp"

namespace nanobox {

namespace {

using Self = StateFetcherActor::stateful_pointer<StateFetcherState>;
constexpr std::chrono::minutes kFetchDeadline{60};
constexpr std::chrono::seconds kStoreDeadline{30};

void over(Self self, const std::string& name, const Result<void>& outcome) {
  const auto waiting = self->state.fetching.extract(name);
  if (waiting.empty()) return;
  for (auto& [promise, asker] : waiting.mapped()) {
    if (outcome)
      deliver_done(promise);
    else
      promise.deliver(to_caf(outcome.error()));
  }
}

/// What came of it goes.
void failed(Self self, const std::string& name, const Error& error) {
  self->request(self->state.sandboxes, kStoreDeadline, undo_atom_v, name)
      .then([self, name, error] { over(self, name, fail(error)); },
            [self, name, error](caf::error&) { over(self, name, fail(error)); });
}

Error given_up(const std::string& name) {
  return {.code = ErrorCode::cancelled,
          .attempted = "fetch a saved state",
          .subject = name,
          .reason = "the connection that it was wanted over broke",
          .mend = ""};
}

/// Blocking. @errors as FetchArtifact · snapshot_invalid: it does not fit this node
Result<bool> fetch_all(const Services& services, const FetchArtifact& fetch, const Sandbox& state,
                       const std::vector<std::string>& sources) {
  if (!services.driver) return fail(services.driver_problem);
  NANOBOX_TRY(fetch(services, state.rootfs_identity, sources));
  for (const auto& artifact : NANOBOX_TRY(lineage_artifacts(state.lineage)))
    NANOBOX_TRY(fetch(services, artifact, sources));
  NANOBOX_TRY(check_fits_here(services, NANOBOX_TRY(read_saved_state(state.lineage.paused_state))));
  return true;
}

/// @param state  noted, with the paths that its files are to have here
void fetch_noted(Self self, const Sandbox& state, const std::vector<std::string>& sources) {
  const auto name = saved_name(state);
  request_job(self, kFetchDeadline,
              [services = self->state.services, fetch = self->state.fetch, state, sources] {
                return fetch_all(*services, fetch, state, sources);
              })
      .then(
          [self, name, state](bool) {
            Sandbox whole = state;
            whole.status = SandboxStatus::paused;
            self->request(self->state.sandboxes, kStoreDeadline, keep_atom_v, std::move(whole))
                .then(
                    [self, name](const Sandbox&) {
                      if (self->state.fetching[name].empty()) return failed(self, name, given_up(name));
                      over(self, name, {});
                    },
                    [self, name](caf::error& error) { failed(self, name, from_caf(error, "keep a saved state")); });
          },
          [self, name](caf::error& error) { failed(self, name, from_caf(error, "fetch a saved state")); });
}

}  // namespace

StateFetcherActor::behavior_type state_fetcher(Self self, SharedServices services, SandboxRegistryActor sandboxes,
                                               FetchArtifact fetch) {
  self->state.services = std::move(services);
  self->state.sandboxes = std::move(sandboxes);
  self->state.fetch = std::move(fetch);
  self->set_down_handler([self](const caf::down_msg& down) {
    for (auto& [name, waiting] : self->state.fetching)
      std::erase_if(waiting, [&](const auto& one) { return one.asker == down.source; });
  });
  return {
      [self](fetch_atom, const StateOffer& offer) -> caf::result<void> {
        auto& state = self->state;
        const auto name = saved_name(offer.state);
        const auto here = state.services->boards->kept_states.find(name);
        if (here && here->status != SandboxStatus::creating && !state.fetching.contains(name)) return caf::unit;
        // Before the promise is made, which takes the sender along.
        const auto asker = caf::actor_cast<caf::actor_addr>(self->current_sender());
        auto promise = self->make_response_promise<void>();
        self->monitor(asker);
        const bool is_first = !state.fetching.contains(name);
        state.fetching[name].push_back({promise, asker});
        if (!is_first) return promise;
        // Noted first: what has come is not collected meanwhile.
        Sandbox wanted = offer.state;
        wanted.status = SandboxStatus::creating;
        self->request(state.sandboxes, kStoreDeadline, keep_atom_v, std::move(wanted))
            .then([self, sources = offer.sources](const Sandbox& noted) { fetch_noted(self, noted, sources); },
                  [self, name](caf::error& error) { over(self, name, fail(from_caf(error, "note a saved state"))); });
        return promise;
      },
  };
}

}  // namespace nanobox
