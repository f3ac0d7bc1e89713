#include "actors/cluster/template_fetcher.hpp"

#include "actors/disk_keeper.hpp"
#include "actors/job.hpp"
#include "actors/serving_template.hpp"
#include "actors/template_snapshot.hpp"
#include "config/log.hpp"
#include "pipeline/warmup/rootfs/rootfs_cache.hpp"

namespace nanobox {

namespace {

using Self = TemplateFetcherActor::stateful_pointer<TemplateFetcherState>;
constexpr std::chrono::minutes kFetchDeadline{60};
constexpr std::chrono::seconds kStoreDeadline{30};

std::string version_of(const Template& entry) {
  return template_key(entry.owner, entry.name) + " " + entry.rootfs.identity +
         (entry.disk.empty() ? "" : " " + entry.snapshot_key);
}

/// A snapshot saves making one here, where it fits; a template works without.
void fetch_snapshot(const Services& services, const FetchArtifact& fetch, const TemplateOffer& offer, Template& entry) {
  entry.snapshot_status = SnapshotStatus::none;
  if (!services.driver || offer.entry.snapshot_status != SnapshotStatus::ready) return;
  if (entry.disk.empty() && !SnapshotStore::is_of(entry.snapshot_key, snapshot_key_of(services, entry))) return;
  const auto fetched = [&]() -> Result<void> {
    NANOBOX_TRY(fetch(services, snapshot_artifact(entry.snapshot_key, entry.resources), offer.sources));
    const auto saved =
        NANOBOX_TRY(services.snapshots->find(entry.snapshot_key, entry.resources.vcpu, entry.resources.memory_mb));
    return check_fits_here(services, saved);
  }();
  if (fetched)
    entry.snapshot_status = SnapshotStatus::ready;
  else
    log_warn(LogComponent::warmup, {}, "{}", describe(fetched.error()));
}

/// Blocking. @errors as FetchArtifact
Result<FetchedTemplate> fetch_template(const Services& services, const FetchArtifact& fetch,
                                       const TemplateOffer& offer) {
  FetchedTemplate fetched{.entry = offer.entry, .origin = {}, .held = {}};
  auto& entry = fetched.entry;
  const auto& identity = offer.entry.rootfs.identity;
  fetched.origin = NANOBOX_TRY(fetch(services, identity, offer.sources));
  auto root = find_rootfs(services.cache.rootfs, identity);
  if (!root)
    return fail({.code = ErrorCode::artifact_missing,
                 .attempted = "fetch template",
                 .subject = entry.name,
                 .reason = "its root went again",
                 .mend = "try again",
                 .transient = true});
  entry.rootfs = std::move(*root);
  if (entry.snapshot_key.empty()) return fetched;
  const auto disk = template_disk_artifact(entry.snapshot_key);
  const auto place = lineage_place(disk, lineage_folders(services));
  if (!place)
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "fetch template",
                 .subject = entry.name,
                 .reason = "its snapshot's key is none",
                 .mend = ""});
  fetched.held = services.snapshots->hold(place->folder);
  if (!entry.disk.empty()) {
    NANOBOX_TRY(fetch(services, disk, offer.sources));
    entry.disk = place->folder / place->files.front();
  }
  fetch_snapshot(services, fetch, offer, entry);
  return fetched;
}

bool is_here(const Services& services, const Template& wanted) {
  const auto here = services.boards->templates.find(template_key(wanted.owner, wanted.name));
  return here && here->usable() && is_same_version(*here, wanted);
}

void over(Self self, const std::string& version, const Result<std::string>& outcome) {
  for (auto& promise : self->state.fetching[version]) deliver_result(promise, outcome);
  self->state.fetching.erase(version);
}

std::string in_words(const FetchedTemplate& fetched, std::chrono::steady_clock::duration took) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
  const auto& [source, bytes] = fetched.origin;
  const bool with_snapshot = fetched.entry.snapshot_status == SnapshotStatus::ready;
  return "template fetched from " + (source.empty() ? "this node's cache" : source) + ": " + std::to_string(bytes) +
         " bytes in " + std::to_string(ms) + " ms" + (with_snapshot ? ", its snapshot too" : "");
}

}  // namespace

TemplateFetcherActor::behavior_type template_fetcher(Self self, SharedServices services,
                                                     TemplateRegistryActor templates, FetchArtifact fetch) {
  self->state.services = std::move(services);
  self->state.templates = std::move(templates);
  self->state.fetch = std::move(fetch);
  return {
      [self](fetch_atom, const TemplateOffer& offer) -> caf::result<std::string> {
        auto& state = self->state;
        if (is_here(*state.services, offer.entry)) return std::string();
        auto promise = self->make_response_promise<std::string>();
        const auto version = version_of(offer.entry);
        auto& waiting = state.fetching[version];
        waiting.push_back(promise);
        if (waiting.size() > 1) return promise;
        const auto began = self->clock().now();
        request_job(
            self, kFetchDeadline,
            [services = state.services, fetch = state.fetch, offer] { return fetch_template(*services, fetch, offer); })
            .then(
                [self, version, began](FetchedTemplate& fetched) {
                  const auto words = in_words(fetched, self->clock().now() - began);
                  self->request(self->state.templates, kStoreDeadline, adopt_atom_v, std::move(fetched.entry))
                      .then(
                          [self, version, words, held = fetched.held](const Template&) { over(self, version, words); },
                          [self, version](caf::error& error) {
                            over(self, version, fail(from_caf(error, "keep a fetched template")));
                          });
                },
                [self, version](caf::error& error) {
                  over(self, version, fail(from_caf(error, "fetch the template")));
                });
        return promise;
      },
  };
}

}  // namespace nanobox
