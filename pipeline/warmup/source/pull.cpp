#include "pipeline/warmup/source/pull.hpp"

#include "pipeline/warmup/source/image_source.hpp"

namespace nanobox {

Result<PullingImage> pull_image(const StageContext& context, BlobCache& cache, const ImageSourceSettings& settings,
                                const ImageRequest& request, const ResolvedImage& image) {
  auto source = NANOBOX_TRY(open_image_source(settings, request));
  auto fetching = NANOBOX_TRY(cache.fetch(context, std::move(source), image.layers));
  return PullingImage{
      .image = image, .layers = std::move(fetching.arrivals), .downloads = std::move(fetching.downloads)};
}

}  // namespace nanobox
