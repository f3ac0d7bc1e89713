#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/warmup/types.hpp"

namespace nanobox {

/// An image in memory. Its layers are any bytes: nothing in source/ looks into them.
struct TestImage {
  std::vector<std::string> layers;
  std::vector<std::string> layer_types;
  std::string config;
  std::string manifest;
  std::string digest;  ///< of the manifest

  std::vector<std::string> layer_digests() const;
  std::string config_digest() const;
  const std::string* blob(const std::string& digest) const;  ///< a layer or the configuration
};

TestImage make_image(std::vector<std::string> layers, const Platform& platform = {},
                     const std::string& layer_type = "application/vnd.oci.image.layer.v1.tar");
/// Bytes that do not compress, the same for the same seed.
std::string noise(std::size_t size, std::uint32_t seed);
std::string gzip(const std::string& bytes);

/// An index that lists images, each with its platform.
struct IndexedPlatform {
  const TestImage* image;
  Platform platform;
};
std::string make_index(const std::vector<IndexedPlatform>& images);

struct TaggedImage {
  const TestImage* image;
  std::string tag;  ///< empty: none
};
void write_layout(const std::filesystem::path& folder, const std::vector<TaggedImage>& images);
/// As `docker save` writes it. @param link_second  the second layer's file is a symlink to the first's
void write_docker_archive(const std::filesystem::path& file, const std::vector<TaggedImage>& images,
                          bool compressed = false, bool link_second = false);

void write_file(const std::filesystem::path& path, const std::string& bytes);
std::string read_whole(const std::filesystem::path& path);

}  // namespace nanobox
