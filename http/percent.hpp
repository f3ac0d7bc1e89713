#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/error.hpp"

namespace nanobox::http {

/// Decodes percent escapes. @errors malformed_request: an escape that is none, or one of NUL
Result<std::string> percent_decode(std::string_view text, bool plus_is_space = false);

/// Decodes "a=1&b=x+y" (form encoding), in its order; a name without '=' has an empty value.
/// @errors malformed_request
Result<std::vector<std::pair<std::string, std::string>>> decode_query(std::string_view query);

}  // namespace nanobox::http
