#include "pipeline/warmup/source/resolve.hpp"

#include <algorithm>

#include "pipeline/warmup/source/image_source.hpp"
#include "pipeline/warmup/source/local_file.hpp"
#include "pipeline/warmup/source/manifest.hpp"
#include "pipeline/warmup/source/reference.hpp"

namespace nanobox {

namespace {

constexpr int kMaxIndexDepth = 4;
constexpr std::chrono::seconds kHeadDeadline{5};

struct FoundManifest {
  ImageManifest manifest;
  std::string digest;
};

/// From what the name stands for down to the platform's manifest.
Result<FoundManifest> find_manifest(const StageContext& context, ImageSource& source, ManifestDocument document,
                                    const Platform& platform, const std::string& name) {
  for (int depth = 0; depth < kMaxIndexDepth; ++depth) {
    auto parsed = NANOBOX_TRY(parse_manifest(document.bytes, document.media_type, name));
    if (auto* manifest = std::get_if<ImageManifest>(&parsed))
      return FoundManifest{.manifest = std::move(*manifest), .digest = document.digest};
    const auto entry = NANOBOX_TRY(choose_platform(std::get<ImageIndex>(parsed), platform, name));
    document = NANOBOX_TRY(source.document(context, entry.descriptor));
  }
  return fail({.code = ErrorCode::manifest_invalid,
               .attempted = "read manifest",
               .subject = name,
               .reason = "indexes are nested more than " + std::to_string(kMaxIndexDepth - 1) + " deep",
               .mend = "push the image with a plain index"});
}

Result<void> check_config(const ResolvedImage& image, const Platform& wanted) {
  if (!platform_fits(image.config.platform, wanted))
    return fail({.code = ErrorCode::platform_not_found,
                 .attempted = "choose platform " + to_string(wanted),
                 .subject = image.name,
                 .reason = "there is " + to_string(image.config.platform),
                 .mend = "ask for that, or for another image"});
  if (image.layers.size() != image.config.diff_ids.size())
    return fail({.code = ErrorCode::manifest_invalid,
                 .attempted = "read image configuration",
                 .subject = image.name,
                 .reason = "the manifest has " + std::to_string(image.layers.size()) +
                           " layers but the configuration " + std::to_string(image.config.diff_ids.size()) +
                           " diff_ids",
                 .mend = "the image is damaged: push it again"});
  return {};
}

}  // namespace

Result<void> check_image_name(const ImageSourceSettings& settings, const std::string& image) {
  const auto reference = NANOBOX_TRY(parse_reference(image));
  const auto* local = std::get_if<LocalReference>(&reference);
  if (!local) return {};
  const auto opened = open_below(settings.local_roots, local->path, local->form == LocalReference::Form::oci_layout);
  if (!opened && opened.error().code == ErrorCode::image_source_forbidden) return fail(opened.error());
  return {};
}

Result<ResolvedImage> resolve_image(const StageContext& context, const ImageSourceSettings& settings,
                                    const ImageRequest& request) {
  const auto reference = NANOBOX_TRY(parse_reference(request.image));
  const auto source = NANOBOX_TRY(open_image_source(settings, request));
  ResolvedImage image;
  image.name = canonical_name(reference);
  auto top = NANOBOX_TRY(source->named_document(context));
  auto found = NANOBOX_TRY(find_manifest(context, *source, std::move(top), request.platform, image.name));
  image.digest = std::move(found.digest);
  image.config_descriptor = std::move(found.manifest.config);
  image.layers = std::move(found.manifest.layers);
  image.config_json =
      NANOBOX_TRY(read_small_blob(*source, context, image.config_descriptor, settings.max_manifest_bytes));
  image.config = NANOBOX_TRY(parse_image_config(image.config_json, image.name));
  NANOBOX_TRY(check_config(image, request.platform));
  return image;
}

Result<std::string> head_digest(const StageContext& context, const ImageSourceSettings& settings,
                                const ImageRequest& request) {
  auto bounded = context;
  bounded.deadline = std::min(context.deadline, std::chrono::steady_clock::now() + kHeadDeadline);
  const auto reference = NANOBOX_TRY(parse_reference(request.image));
  const auto source = NANOBOX_TRY(open_image_source(settings, request));
  auto top = NANOBOX_TRY(source->named_digest(bounded));
  if (top.bytes.empty() && !is_index_type(top.media_type)) return top.digest;
  if (top.bytes.empty())
    top = NANOBOX_TRY(
        source->document(bounded, {.media_type = top.media_type, .digest = top.digest, .size = 0, .urls = {}}));
  return NANOBOX_TRY(find_manifest(bounded, *source, std::move(top), request.platform, canonical_name(reference)))
      .digest;
}

}  // namespace nanobox
