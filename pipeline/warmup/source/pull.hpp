#pragma once

#include "config/error.hpp"
#include "pipeline/stage_context.hpp"
#include "pipeline/warmup/source/blob_cache.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

/// Starts to fetch the layers that the cache lacks, at most four side by side, and answers at once: the arrivals tell
/// when bytes are there and what goes wrong. Progress goes on through `context.report` while the answer's `downloads`
/// is held; `context.stop`, or letting go of it, ends what no other image waits for.
/// @errors disk_full · io_failed · what open_image_source fails with
Result<PullingImage> pull_image(const StageContext& context, BlobCache& cache, const ImageSourceSettings& settings,
                                const ImageRequest& request, const ResolvedImage& image);

}  // namespace nanobox
