#pragma once

#include <string>
#include <string_view>

namespace nanobox::http {

/// docs/openapi.json as it was when the program was built, with `version` as its info.version.
std::string api_description(std::string_view version);

}  // namespace nanobox::http
