#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "config/error.hpp"
#include "pipeline/stage_context.hpp"
#include "pipeline/warmup/rootfs/limits.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

class WindowGate;

struct ExtractSettings {
  std::filesystem::path rootfs_folder;  ///< made if missing; its `.tmp/` holds the half-made image
  unsigned workers = 0;                 ///< layers at once; 0: as many as cores, at most 8
  ImageLimits limits;
  std::shared_ptr<WindowGate> large_windows;  ///< share one over all runs of a process; null: one for this run
};

/// Layers indexed in memory and their files' data at its final place in a half-made image file, which this owns:
/// the file is gone with the value unless `build_rootfs` finished it. Move-only.
class ExtractedImage {
public:
  struct Parts;
  explicit ExtractedImage(std::unique_ptr<Parts> parts);
  ExtractedImage(ExtractedImage&&) noexcept;
  ExtractedImage& operator=(ExtractedImage&&) noexcept;
  ~ExtractedImage();

  Parts& parts() { return *parts_; }

private:
  std::unique_ptr<Parts> parts_;
};

/// Inflates, hashes and places the layers while they still arrive, several at once. Returns when every blob and every
/// diff_id is verified. Blocking: a worker thread only.
/// @errors  those of the arrivals · diff_id_mismatch (names the layer and both values) · layer_invalid ·
///          layer_unsupported · layer_too_large (names the limit) · disk_full · cancelled · deadline_exceeded
/// @see     OCI image-spec layer.md; design/ext4.md
Result<ExtractedImage> extract_layers(const StageContext& context, const PullingImage& pulling,
                                      const ExtractSettings& settings);

}  // namespace nanobox
