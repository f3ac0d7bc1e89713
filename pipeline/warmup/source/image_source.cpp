#include "pipeline/warmup/source/image_source.hpp"

#include "config/sha256.hpp"
#include "pipeline/warmup/source/credentials.hpp"
#include "pipeline/warmup/source/docker_archive.hpp"
#include "pipeline/warmup/source/oci_layout.hpp"
#include "pipeline/warmup/source/reference.hpp"
#include "pipeline/warmup/source/registry_client.hpp"

namespace nanobox {

Result<std::shared_ptr<ImageSource>> open_image_source(const ImageSourceSettings& settings,
                                                       const ImageRequest& request) {
  const auto reference = NANOBOX_TRY(parse_reference(request.image));
  if (const auto* local = std::get_if<LocalReference>(&reference)) {
    if (local->form == LocalReference::Form::oci_layout) return OciLayout::open(*local, settings);
    return DockerArchive::open(*local, settings);
  }
  const auto& image = std::get<RegistryReference>(reference);
  auto credentials = NANOBOX_TRY(find_credentials(settings, request.credentials, image.registry));
  return std::make_shared<RegistryClient>(image, settings, std::move(credentials));
}

Result<std::string> read_small_blob(ImageSource& source, const StageContext& context, const Descriptor& descriptor,
                                    std::uint64_t max_bytes) {
  const auto wrong = [&](ErrorCode code, std::string reason) {
    return fail({.code = code,
                 .attempted = "fetch blob",
                 .subject = descriptor.digest,
                 .reason = std::move(reason),
                 .mend = "the image is damaged: push it again"});
  };
  if (descriptor.size > max_bytes)
    return wrong(ErrorCode::manifest_invalid, "it is larger than " + std::to_string(max_bytes) + " bytes");
  std::string bytes;
  NANOBOX_TRY(source.read_blob(context, descriptor, 0, [&](std::string_view more) -> Result<void> {
    if (bytes.size() + more.size() > descriptor.size)
      return wrong(ErrorCode::digest_mismatch,
                   "it has more than the " + std::to_string(descriptor.size) + " bytes stated");
    bytes += more;
    return {};
  }));
  if (bytes.size() < descriptor.size)
    return wrong(ErrorCode::blob_truncated, "it has " + std::to_string(bytes.size()) + " of the " +
                                                std::to_string(descriptor.size) + " bytes stated");
  if (const auto actual = digest_of(bytes); actual != descriptor.digest)
    return wrong(ErrorCode::digest_mismatch, "its digest is " + actual);
  return bytes;
}

}  // namespace nanobox
