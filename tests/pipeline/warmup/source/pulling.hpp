#pragma once

#include <catch2/catch.hpp>
#include <string>

#include "pipeline/warmup/blob_arrival.hpp"
#include "pipeline/warmup/source/pull.hpp"
#include "pipeline/warmup/source/resolve.hpp"
#include "temp_folder.hpp"
#include "test_image.hpp"

namespace nanobox {

inline std::string bytes_of(const BlobArrival& arrival) {
  std::string out(arrival.size_bytes(), '\0');
  REQUIRE(::pread(arrival.file(), out.data(), out.size(), 0) == static_cast<ssize_t>(out.size()));
  return out;
}

/// A cache of a test's own, and both stages on it.
struct Puller {
  TempFolder folder;
  ImageSourceSettings settings;
  StageContext context;
  std::shared_ptr<BlobCache> cache = *BlobCache::open(folder / "blobs");

  Result<ResolvedImage> resolve(const std::string& name) const {
    return resolve_image(context, settings, {.image = name, .credentials = std::nullopt, .platform = {}});
  }
  Result<PullingImage> start(const std::string& name) const {
    const auto image = NANOBOX_TRY(resolve(name));
    return pull_image(context, *cache, settings, {.image = name, .credentials = std::nullopt, .platform = {}}, image);
  }
  /// Resolves, pulls and waits; the first layer's failure is the error.
  Result<PullingImage> pull(const std::string& name) const {
    auto pulling = NANOBOX_TRY(start(name));
    for (const auto& layer : pulling.layers) NANOBOX_TRY(layer->wait_complete(context.stop));
    return pulling;
  }
  std::size_t parts() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "blobs/.tmp")) count += entry.exists();
    return count;
  }
};

}  // namespace nanobox
