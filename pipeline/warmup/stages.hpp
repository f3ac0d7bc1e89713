#pragma once

#include "pipeline/stage.hpp"
#include "pipeline/template.hpp"
#include "pipeline/warmup/rootfs/extract.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

/// Layers on their way, or nothing to fetch where the built root is in the cache already.
struct PulledImage {
  ResolvedImage image;
  std::shared_ptr<const PullingImage> pulling;  ///< null with `cached`
  std::optional<BuiltRootfs> cached;
};

/// Layers indexed, their data at its final place in a half-made root; or the cached root.
struct IndexedImage {
  ResolvedImage image;
  std::shared_ptr<ExtractedImage> extracted;  ///< null with `cached`
  std::optional<BuiltRootfs> cached;
};

struct BuiltImage {
  ResolvedImage image;
  BuiltRootfs rootfs;
};

struct ResolveStage : StageDefaults {
  using Input = ImageRequest;
  using Output = ResolvedImage;
  static constexpr std::string_view name = "resolve", input = "ImageRequest", output = "ResolvedImage";
  static constexpr Concern concern = Concern::image_puller;
  static constexpr std::chrono::milliseconds deadline{60'000};
  static constexpr unsigned retries = 3;
};

struct PullStage : StageDefaults {
  using Input = ResolvedImage;
  using Output = PulledImage;
  static constexpr std::string_view name = "pull", input = "ResolvedImage", output = "PulledImage",
                                    undo = "stop the downloads; verified blobs stay in the cache";
  static constexpr Concern concern = Concern::image_puller;
  static constexpr std::chrono::milliseconds deadline{3'600'000};
  static constexpr unsigned retries = 3;
  static constexpr bool overlaps_next = true;
};

struct ExtractStage : StageDefaults {
  using Input = PulledImage;
  using Output = IndexedImage;
  static constexpr std::string_view name = "extract", input = "PulledImage", output = "IndexedImage",
                                    undo = "remove the half-made root";
  static constexpr Concern concern = Concern::layer_extractor;
  static constexpr std::chrono::milliseconds deadline{3'600'000};
  static constexpr unsigned retries = 3;
  static constexpr bool group_start = false;
};

struct BuildStage : StageDefaults {
  using Input = IndexedImage;
  using Output = BuiltImage;
  static constexpr std::string_view name = "build", input = "IndexedImage", output = "BuiltImage",
                                    undo = "none: a finished root stays in the cache";
  static constexpr Concern concern = Concern::ext4_builder;
  static constexpr std::chrono::milliseconds deadline{600'000};
  static constexpr unsigned retries = 3;
  static constexpr bool group_start = false;
};

struct PublishStage : StageDefaults {
  using Input = BuiltImage;
  using Output = Template;
  static constexpr std::string_view name = "publish", input = "BuiltImage", output = "Template";
  static constexpr Concern concern = Concern::template_registry;
  static constexpr std::chrono::milliseconds deadline{30'000};
  static constexpr bool commits = true;
};

/// Boots the template once and saves it. What fails leaves the template as published, but for its `prime`.
struct SnapshotStage : StageDefaults {
  using Input = Template;
  using Output = Template;
  static constexpr std::string_view name = "snapshot", input = "Template", output = "Template",
                                    undo = "end the VM, drop what was saved";
  static constexpr Concern concern = Concern::snapshot_maker;
  static constexpr std::chrono::milliseconds deadline{7'200'000};
};

/// Image name → template. `pull` answers as soon as the downloads have started; `extract` follows the bytes.
using WarmupPipeline = Pipeline<ResolveStage, PullStage, ExtractStage, BuildStage, PublishStage, SnapshotStage>;

}  // namespace nanobox
