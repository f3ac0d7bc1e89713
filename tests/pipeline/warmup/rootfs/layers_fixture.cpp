#include "tests/pipeline/warmup/rootfs/layers_fixture.hpp"

#include <fcntl.h>
#include <stdlib.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <stdexcept>

#include "tests/pipeline/warmup/rootfs/tar_builder.hpp"

namespace nanobox::test {

namespace fs = std::filesystem;

ScratchFolder::ScratchFolder() {
  auto pattern = (fs::temp_directory_path() / "nanobox-test-XXXXXX").string();
  if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
  path = pattern;
}

ScratchFolder::~ScratchFolder() {
  std::error_code error;
  fs::remove_all(path, error);
}

UniqueFd LayersFixture::blob_file(const std::string& bytes) {
  const auto path = scratch.path / ("blob" + std::to_string(blobs_++));
  std::ofstream(path, std::ios::binary) << bytes;
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  fs::remove(path);
  return fd;
}

PullingImage LayersFixture::image_of(const std::vector<std::string>& blobs, const std::vector<std::string>& tars) {
  PullingImage pulling;
  auto& image = pulling.image;
  image.name = "test";
  image.digest = "sha256:test";
  image.config_json = "{}";
  image.config.env = {"PATH=/bin", "QUOTE=it's \"$HOME\"\n"};
  for (std::size_t at = 0; at < blobs.size(); ++at) {
    const auto digest = sha256_digest(blobs[at]);
    image.layers.push_back({.media_type = "application/vnd.oci.image.layer.v1.tar",
                            .digest = digest,
                            .size = blobs[at].size(),
                            .urls = {}});
    image.config.diff_ids.push_back(sha256_digest(tars.empty() ? blobs[at] : tars[at]));
    auto arrival = std::make_shared<BlobArrival>(digest, blobs[at].size(), blob_file(blobs[at]));
    arrival->complete();
    pulling.layers.push_back(std::move(arrival));
  }
  return pulling;
}

Result<BuiltRootfs> LayersFixture::build_image(const PullingImage& image) {
  const StageContext context;
  auto extracted = NANOBOX_TRY(extract_layers(context, image, settings));
  return build_rootfs(context, std::move(extracted), additions);
}

std::map<std::string, Seen> LayersFixture::tree_of(const std::vector<std::string>& tars) {
  return tree_of_image(image_of(tars));
}

std::map<std::string, Seen> LayersFixture::tree_of_image(const PullingImage& image) {
  const auto built = build_image(image);
  INFO((built ? std::string() : describe(built.error())));
  REQUIRE(built);
  CHECK(e2fsck_complaints(built->image_path).empty());
  INFO(e2fsck_complaints(built->image_path));
  auto tree = read_image(built->image_path);
  CHECK(tree.at("/lost+found").inode == 11);
  for (const auto* added : {"/lost+found", "/proc", "/sys", "/dev", "/run", "/tmp", "/etc/nanobox",
                            "/etc/nanobox/env.sh", "/etc/nanobox/image.json", "/sbin/nanobox-init"})
    tree.erase(added);
  REQUIRE(remove_rootfs(settings.rootfs_folder, built->identity));
  return tree;
}

Error LayersFixture::error_of_image(const PullingImage& image) {
  auto built = build_image(image);
  REQUIRE_FALSE(built);
  CHECK(left_files().empty());
  return built.error();
}

std::vector<std::string> LayersFixture::left_files() const {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::recursive_directory_iterator at(settings.rootfs_folder, error), end; !error && at != end;
       at.increment(error)) {
    if (at->path().filename() != ".tmp") names.push_back(at->path().filename().string());
  }
  return names;
}

}  // namespace nanobox::test
