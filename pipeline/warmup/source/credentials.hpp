#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

/// The credentials for `registry`: the request's, else `[[oci.credentials]]`, else docker's config.json (its `auths`).
/// @errors config_invalid · file_unreadable (name the file, never its contents)
Result<std::optional<Credentials>> find_credentials(const ImageSourceSettings& settings,
                                                    const std::optional<Credentials>& requested,
                                                    const std::string& registry);

/// The entry for `registry` in the text of a docker config.json. @errors config_invalid
Result<std::optional<Credentials>> parse_docker_config(std::string_view json, const std::string& registry,
                                                       const std::string& file_name);

}  // namespace nanobox
