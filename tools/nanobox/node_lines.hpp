#pragma once

#include <rapidjson/document.h>

#include <string>

namespace nanobox::cli {

/// A line for each thing that is known of the node: `nanobox node show`.
std::string node_lines(const rapidjson::Value& node);

}  // namespace nanobox::cli
