#include "actors/image_puller.hpp"

#include "pipeline/warmup/rootfs/build.hpp"
#include "pipeline/warmup/source/pull.hpp"
#include "pipeline/warmup/source/resolve.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kConcurrentJobs = 8;
constexpr std::chrono::minutes kAbandonDeadline{10};

Result<PulledImage> pull_or_find(const StageContext& context, const Services& services, const ImageRequest& request,
                                 const ResolvedImage& image, bool force) {
  const auto identity = rootfs_identity(image, services.init_digest);
  if (!force) {
    if (auto cached = find_rootfs(services.cache.rootfs, identity)) {
      context.report({.done_bytes = 0, .total_bytes = 0, .detail = "the root is in the cache"});
      return PulledImage{.image = image, .pulling = nullptr, .cached = std::move(*cached)};
    }
  }
  auto pulling = NANOBOX_TRY(pull_image(context, *services.blobs, services.image_sources, request, image));
  return PulledImage{
      .image = image, .pulling = std::make_shared<const PullingImage>(std::move(pulling)), .cached = std::nullopt};
}

}  // namespace

ImagePullerActor::behavior_type image_puller(ImagePullerActor::stateful_pointer<ImagePullerState> self,
                                             SharedServices services) {
  self->state.services = services;
  self->state.workers.limit = kConcurrentJobs;
  return {
      [self](resolve_atom, const WarmupCall& call, const ImageRequest& request) -> caf::result<ResolvedImage> {
        return run_on_worker<ResolvedImage>(self, call, "resolve", ResolveStage::deadline,
                                            [services = self->state.services, request](const StageContext& context) {
                                              return resolve_image(context, services->image_sources, request);
                                            });
      },
      [self](pull_atom, const WarmupCall& call, const ResolvedImage& image) -> caf::result<PulledImage> {
        auto pull = [self, call, image] {
          return run_on_worker<PulledImage>(
              self, call, "pull", PullStage::deadline,
              [services = self->state.services, call, image](const StageContext& context) {
                return pull_or_find(context, *services, call.request.image, image, call.request.force);
              });
        };
        const auto identity = rootfs_identity(image, self->state.services->init_digest);
        const auto [entry, first] = self->state.in_flight.try_emplace(identity);
        if (first || entry->second.run_id == call.run_id) {
          entry->second.run_id = call.run_id;
          entry->second.layers = image.layers;
          return pull();
        }
        // Another run makes this very root: ask again when that run is over.
        auto promise = self->make_response_promise<PulledImage>();
        entry->second.waiting.push_back([self, promise, call, image]() mutable {
          promise.delegate(ImagePullerActor(self), pull_atom_v, call, image);
        });
        return promise;
      },
      [self](undo_atom, const std::string& run_id) -> caf::result<void> {
        self->state.workers.cancel(run_id);
        return caf::unit;
      },
      [self](cancel_atom, const std::string& run_id) { self->state.workers.cancel(run_id); },
      [self](ended_atom, const std::string& run_id) {
        auto& state = self->state;
        state.workers.stops.erase(run_id);
        for (auto it = state.in_flight.begin(); it != state.in_flight.end();) {
          if (it->second.run_id != run_id) {
            ++it;
            continue;
          }
          // Asked for again only once the parts are gone: the next run would begin to write them meanwhile.
          auto over = std::move(it->second);
          it = state.in_flight.erase(it);
          const auto go_on = [waiting = std::move(over.waiting)] {
            for (const auto& next : waiting) next();
          };
          request_job(self, kAbandonDeadline,
                      [services = state.services, layers = std::move(over.layers)]() -> Result<bool> {
                        services->blobs->abandon(layers);
                        return true;
                      })
              .then([go_on](bool) { go_on(); }, [go_on](caf::error&) { go_on(); });
        }
      },
  };
}

}  // namespace nanobox
