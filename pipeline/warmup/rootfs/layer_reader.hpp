#pragma once

#include <atomic>
#include <cstdint>

#include "config/error.hpp"
#include "pipeline/warmup/rootfs/data_area.hpp"
#include "pipeline/warmup/rootfs/layer_index.hpp"
#include "pipeline/warmup/rootfs/limits.hpp"
#include "pipeline/warmup/rootfs/tar_reader.hpp"

namespace nanobox {

/// What an image has used up of its limits, over all its layers. Thread-safe.
struct ImageBudget {
  ImageLimits limits;
  std::atomic<std::uint64_t> entries{0};
  std::atomic<std::uint64_t> data_bytes{0};
};

/// Reads one layer's tar to the end of its stream: entries into the index, file data to its place. A claimed size is
/// checked before anything is placed. `writer` is flushed whenever a chunk ends and at the end.
/// @errors  layer_invalid · layer_unsupported · layer_too_large (each names the entry) · disk_full · the source's
Result<LayerIndex> read_layer(ChunkSource& source, ImageBudget& budget, DataWriter& writer);

}  // namespace nanobox
