#pragma once

#include <string>

namespace nanobox {

/// docs/configuration.md: every key of the schema with its default, values and meaning, as Markdown. The same on every
/// host, and without regard to what is set.
std::string settings_page();

}  // namespace nanobox
