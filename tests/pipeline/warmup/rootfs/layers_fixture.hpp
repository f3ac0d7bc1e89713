#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "pipeline/warmup/blob_arrival.hpp"
#include "pipeline/warmup/rootfs/build.hpp"
#include "pipeline/warmup/rootfs/extract.hpp"
#include "tests/pipeline/warmup/rootfs/image_reader.hpp"

namespace nanobox::test {

/// A folder of its own under the system's temporary one, removed with the fixture.
class ScratchFolder {
public:
  ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ~ScratchFolder();
  std::filesystem::path path;
};

/// Builds roots from layers in memory.
class LayersFixture {
public:
  ScratchFolder scratch;
  ExtractSettings settings{
      .rootfs_folder = scratch.path / "rootfs", .workers = 0, .limits = {}, .large_windows = nullptr};
  RootfsAdditions additions{.init_binary = std::vector<std::byte>(5000, std::byte{'i'}), .init_digest = "init"};

  /// A file that holds `bytes`, open for reading.
  UniqueFd blob_file(const std::string& bytes);
  /// An image of complete blobs. Without `tars`, `blobs` are the tars.
  PullingImage image_of(const std::vector<std::string>& blobs, const std::vector<std::string>& tars = {});
  Result<BuiltRootfs> build_image(const PullingImage& image);
  Result<BuiltRootfs> build(const std::vector<std::string>& tars) { return build_image(image_of(tars)); }
  /// Builds, requires that it worked and that e2fsck finds nothing, and reads the image; without what we add on top.
  std::map<std::string, Seen> tree_of(const std::vector<std::string>& tars);
  std::map<std::string, Seen> tree_of_image(const PullingImage& image);
  /// Builds and requires that it fails, leaving nothing behind.
  Error error_of(const std::vector<std::string>& tars) { return error_of_image(image_of(tars)); }
  Error error_of_image(const PullingImage& image);
  /// Names in the folder and its `.tmp/`.
  std::vector<std::string> left_files() const;

private:
  int blobs_ = 0;
};

}  // namespace nanobox::test
