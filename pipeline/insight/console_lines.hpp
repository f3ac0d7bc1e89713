#pragma once

#include <string>
#include <string_view>

#include "pipeline/insight/sandbox_death.hpp"

namespace nanobox {

/// The last lines of a console that fit into `max` bytes, as valid UTF-8: what is none becomes U+FFFD, carriage returns
/// and NULs go. What is too long is cut at a line, where there is one.
std::string last_console_lines(std::string_view console, std::size_t max = kDeathConsoleMax);

}  // namespace nanobox
