#pragma once

#include <string>
#include <string_view>

namespace nanobox {

/// A new id: `prefix`, "-" and a lower-case ULID (48 bits of milliseconds, 80 random bits), e.g. "sb-01jq…".
/// Prefixes: sb (sandbox), op (run of a pipeline), ev (event), pr (process), rq (request).
std::string make_id(std::string_view prefix);

/// Whether `text` is `prefix`, "-" and 26 characters of lower-case Crockford base 32.
bool is_id(std::string_view text, std::string_view prefix);

}  // namespace nanobox
