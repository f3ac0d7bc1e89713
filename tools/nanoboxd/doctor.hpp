#pragma once

#include "config/settings.hpp"

namespace nanobox {

/// Says what this host can do, what is missing and the mend for each: a table, or JSON {"checks":[{"name","ok",
/// "detail","mend"}]}. @returns 0 where sandboxes can run, else 1
int run_doctor(const LoadedSettings& loaded, bool as_json);

}  // namespace nanobox
