#pragma once

#include <string>
#include <string_view>

namespace nanobox::cli {

/// The template's name that `nanobox run IMAGE` gives an image: "node:22-alpine" → "node-22-alpine",
/// "docker.io/library/node:22" → "node-22", "oci:/images/app:1" → "images-app-1". Digests are shortened to 12 digits.
/// At most 63 letters, digits, '.', '_' and '-'.
std::string template_name_for(std::string_view image);

/// Another name for the same image, where the first one is taken by a different image.
std::string second_template_name_for(std::string_view image);

}  // namespace nanobox::cli
