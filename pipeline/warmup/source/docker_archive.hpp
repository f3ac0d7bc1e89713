#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "config/unique_fd.hpp"
#include "pipeline/warmup/source/image_source.hpp"
#include "pipeline/warmup/source/reference.hpp"

namespace nanobox {

/// What `docker save` writes: a tar (itself compressed or not) with manifest.json, a configuration and layers, each a
/// tar, compressed or not. Read in place: nothing is extracted, and names inside the tar never become paths.
///
/// The archive has no manifest with a digest, so one is made: the same archive always has the same digest. A plain
/// layer's digest is its diff_id; of a compressed one it is computed once, when the image is resolved.
class DockerArchive final : public ImageSource {
public:
  /// @errors image_source_forbidden · image_not_found · file_unreadable
  static Result<std::shared_ptr<ImageSource>> open(const LocalReference& reference,
                                                   const ImageSourceSettings& settings);

  Result<ManifestDocument> named_document(const StageContext& context) override;
  Result<ManifestDocument> document(const StageContext& context, const Descriptor& descriptor) override;
  Result<void> read_blob(const StageContext& context, const Descriptor& descriptor, std::uint64_t offset,
                         const BlobSink& sink) override;

private:
  /// A member of the tar that is a regular file, by its place in the order of members.
  struct Member {
    std::uint64_t position = 0;
    std::uint64_t size = 0;
  };
  struct Contents {
    std::string manifest;                     ///< the manifest made for the image
    std::map<std::string, Member> by_digest;  ///< its configuration and layers
  };

  DockerArchive(LocalReference reference, UniqueFd file, std::uint64_t max_manifest_bytes)
      : reference_(std::move(reference)), file_(std::move(file)), max_manifest_bytes_(max_manifest_bytes) {}
  Result<const Contents*> contents(const StageContext& context);
  Result<Contents> read_contents(const StageContext& context) const;
  tl::unexpected<Error> invalid(std::string reason) const;

  const LocalReference reference_;
  const UniqueFd file_;
  const std::uint64_t max_manifest_bytes_;
  std::mutex mutex_;
  std::unique_ptr<const Contents> contents_;
};

}  // namespace nanobox
