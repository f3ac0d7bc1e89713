#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nanobox::http::transport {

/// ASCII letters in lower case.
std::string lower(std::string_view text);

/// The members of a comma-separated header value (RFC 9110, section 5.6.1), trimmed; empty ones are left out.
std::vector<std::string_view> list_items(std::string_view value);

/// Whether a header (in lower case) is for one hop only, by its name (RFC 9110, section 7.6.1).
bool is_hop_by_hop(std::string_view name);

}  // namespace nanobox::http::transport
