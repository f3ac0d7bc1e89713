#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/clock.hpp"
#include "http/request.hpp"

namespace nanobox::http {

/// A time as RFC 3339 has it: any fraction of a second (what is below a millisecond is dropped), "Z" or an offset.
std::optional<WallTime> parse_time(std::string_view text);

/// A query parameter that is one; nothing where it was not given. @errors invalid_value
Result<std::optional<WallTime>> time_parameter(const Request& request, const std::string& name);

}  // namespace nanobox::http
