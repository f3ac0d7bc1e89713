#pragma once

#include "config/unique_fd.hpp"
#include "pipeline/warmup/source/image_source.hpp"
#include "pipeline/warmup/source/manifest.hpp"
#include "pipeline/warmup/source/reference.hpp"

namespace nanobox {

/// A folder in the OCI image layout (image-spec image-layout.md): `oci:/dir[:tag]`. Nothing outside of it is read.
class OciLayout final : public ImageSource {
public:
  /// @errors image_source_forbidden · image_not_found · manifest_invalid (no layout)
  static Result<std::shared_ptr<ImageSource>> open(const LocalReference& reference,
                                                   const ImageSourceSettings& settings);

  Result<ManifestDocument> named_document(const StageContext& context) override;
  Result<ManifestDocument> document(const StageContext& context, const Descriptor& descriptor) override;
  Result<void> read_blob(const StageContext& context, const Descriptor& descriptor, std::uint64_t offset,
                         const BlobSink& sink) override;

private:
  OciLayout(LocalReference reference, UniqueFd folder, std::uint64_t max_manifest_bytes)
      : reference_(std::move(reference)), folder_(std::move(folder)), max_manifest_bytes_(max_manifest_bytes) {}
  Result<void> check_version() const;

  const LocalReference reference_;
  const UniqueFd folder_;
  const std::uint64_t max_manifest_bytes_;
};

}  // namespace nanobox
