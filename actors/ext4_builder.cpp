#include "actors/ext4_builder.hpp"

#include "pipeline/warmup/rootfs/build.hpp"

namespace nanobox {

Ext4BuilderActor::behavior_type ext4_builder(Ext4BuilderActor::stateful_pointer<Ext4BuilderState> self,
                                             SharedServices services) {
  self->state.services = std::move(services);
  self->state.workers.limit = 2;
  return {
      [self](build_atom, const WarmupCall& call, const IndexedImage& indexed) -> caf::result<BuiltImage> {
        if (indexed.cached) return BuiltImage{.image = indexed.image, .rootfs = *indexed.cached};
        return run_on_worker<BuiltImage>(
            self, call, "build", BuildStage::deadline,
            [services = self->state.services, indexed](const StageContext& context) -> Result<BuiltImage> {
              RootfsAdditions additions;
              additions.init_binary = services->init_binary;
              additions.init_digest = services->init_digest;
              auto rootfs = NANOBOX_TRY(build_rootfs(context, std::move(*indexed.extracted), additions));
              return BuiltImage{.image = indexed.image, .rootfs = std::move(rootfs)};
            });
      },
      [self](cancel_atom, const std::string& run_id) { self->state.workers.cancel(run_id); },
  };
}

}  // namespace nanobox
