#pragma once

#include <rapidjson/document.h>

#include <optional>
#include <string>

#include "config/error.hpp"
#include "tools/nanobox/command.hpp"

namespace nanobox::cli {

/// A line for each item of a list of processes; nothing where there are none.
std::optional<std::string> process_table(const rapidjson::Value& list);

/// `nanobox ps SANDBOX`: the commands started in it that are still known.
Result<int> list_processes(Session& session);

}  // namespace nanobox::cli
