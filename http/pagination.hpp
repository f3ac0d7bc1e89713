#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "http/request.hpp"

namespace nanobox::http {

/// Which part of a list is asked for.
struct Page {
  std::size_t limit = 100;
  std::optional<std::string> after;  ///< the last item's key of the page before
};

/// Reads `?limit=` (1..1000) and `?cursor=`.
/// @errors invalid_value, naming "?limit" or "?cursor"
Result<Page> read_page(const Request& request);

/// The opaque cursor for "after the item with this key".
std::string make_cursor(std::string_view key);

}  // namespace nanobox::http
