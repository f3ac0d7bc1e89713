#include "actors/layer_extractor.hpp"

namespace nanobox {

LayerExtractorActor::behavior_type layer_extractor(LayerExtractorActor::stateful_pointer<LayerExtractorState> self,
                                                   SharedServices services) {
  self->state.services = std::move(services);
  self->state.workers.limit = 2;
  return {
      [self](extract_atom, const WarmupCall& call, const PulledImage& pulled) -> caf::result<IndexedImage> {
        if (pulled.cached) return IndexedImage{.image = pulled.image, .extracted = nullptr, .cached = pulled.cached};
        return run_on_worker<IndexedImage>(
            self, call, "extract", ExtractStage::deadline,
            [services = self->state.services, pulled](const StageContext& context) -> Result<IndexedImage> {
              ExtractSettings settings;
              settings.rootfs_folder = services->cache.rootfs;
              settings.large_windows = services->large_windows;
              auto extracted = NANOBOX_TRY(extract_layers(context, *pulled.pulling, settings));
              return IndexedImage{.image = pulled.image,
                                  .extracted = std::make_shared<ExtractedImage>(std::move(extracted)),
                                  .cached = std::nullopt};
            });
      },
      [self](undo_atom, const std::string& run_id) -> caf::result<void> {
        self->state.workers.cancel(run_id);
        self->state.workers.stops.erase(run_id);
        return caf::unit;
      },
      [self](cancel_atom, const std::string& run_id) { self->state.workers.cancel(run_id); },
  };
}

}  // namespace nanobox
