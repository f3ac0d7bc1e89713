#pragma once

#include <string>

#include "config/error.hpp"
#include "pipeline/stage_context.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

/// What can be seen wrong with an image's name at once, without asking anybody: its form, and for local ones whether
/// they lie below `local_roots` once symlinks are resolved.
/// @errors image_name_invalid · image_source_forbidden
Result<void> check_image_name(const ImageSourceSettings& settings, const std::string& image);

/// Image name → manifest and configuration for the platform asked, both verified. Blocking.
/// @errors image_name_invalid · image_source_forbidden · image_not_found · platform_not_found (lists what there is) ·
///         manifest_invalid · layer_unsupported · digest_mismatch · registry_unreachable · registry_unauthorized ·
///         registry_forbidden · registry_rate_limited · registry_failed · cancelled · deadline_exceeded
Result<ResolvedImage> resolve_image(const StageContext& context, const ImageSourceSettings& settings,
                                    const ImageRequest& request);

/// The digest `resolve_image` would answer, found cheaply: one HEAD, and where the name stands for an index the index.
/// Within 5 s. Blocking. @errors as resolve_image
Result<std::string> head_digest(const StageContext& context, const ImageSourceSettings& settings,
                                const ImageRequest& request);

}  // namespace nanobox
