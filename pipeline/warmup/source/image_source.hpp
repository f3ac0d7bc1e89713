#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "pipeline/stage_context.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

/// The bytes of a manifest or an index, their digest verified or computed.
struct ManifestDocument {
  std::string media_type;  ///< as the source says; may be empty
  std::string bytes;
  std::string digest;
};

/// Takes the next bytes of a blob; an error ends the reading and comes out of it.
using BlobSink = std::function<Result<void>(std::string_view)>;

/// Where an image's documents and blobs come from. Thread-safe: layers are read side by side. All calls block.
class ImageSource {
public:
  virtual ~ImageSource() = default;

  /// What the image's name stands for now: a manifest or an index.
  /// @errors image_not_found · manifest_invalid · digest_mismatch · the source's own
  virtual Result<ManifestDocument> named_document(const StageContext& context) = 0;
  /// The manifest or index that an index lists, verified.
  virtual Result<ManifestDocument> document(const StageContext& context, const Descriptor& descriptor) = 0;
  /// Hands the blob's bytes from `offset` on to `sink`; not verified. Ends early with a transient error when cut off.
  virtual Result<void> read_blob(const StageContext& context, const Descriptor& descriptor, std::uint64_t offset,
                                 const BlobSink& sink) = 0;
  /// Digest and media type of `named_document` without its bytes, where the source can tell; else with them.
  virtual Result<ManifestDocument> named_digest(const StageContext& context) { return named_document(context); }
};

/// The source for `request`: a registry with the credentials that fit, an OCI layout or a docker archive.
/// @errors image_name_invalid · image_source_forbidden · image_not_found · config_invalid
Result<std::shared_ptr<ImageSource>> open_image_source(const ImageSourceSettings& settings,
                                                       const ImageRequest& request);

/// A small blob as a whole, its size and digest verified. @errors digest_mismatch · blob_truncated · manifest_invalid
Result<std::string> read_small_blob(ImageSource& source, const StageContext& context, const Descriptor& descriptor,
                                    std::uint64_t max_bytes);

}  // namespace nanobox
