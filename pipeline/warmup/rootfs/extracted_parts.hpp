#pragma once

#include <memory>
#include <vector>

#include "pipeline/warmup/rootfs/data_area.hpp"
#include "pipeline/warmup/rootfs/extract.hpp"
#include "pipeline/warmup/rootfs/half_file.hpp"
#include "pipeline/warmup/rootfs/layer_index.hpp"
#include "pipeline/warmup/rootfs/layer_reader.hpp"

namespace nanobox {

/// What `extract_layers` hands to `build_rootfs`.
struct ExtractedImage::Parts {
  ResolvedImage image;
  HalfFile file;
  ImageBudget budget;
  DataArea area;
  std::vector<LayerIndex> layers;  ///< bottom first

  Parts(ResolvedImage resolved, HalfFile half, const ImageLimits& limits)
      : image(std::move(resolved)), file(std::move(half)), budget{.limits = limits}, layers(image.layers.size()) {}
};

}  // namespace nanobox
