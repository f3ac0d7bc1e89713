#pragma once

#include <rapidjson/document.h>

#include <string>

namespace nanobox::cli {

// What `nanobox inspect` shows, from the server's JSON: a line for each thing that is known.

std::string sandbox_text(const rapidjson::Value& sandbox);
/// Why a sandbox ended: the cause first, the console last.
std::string death_text(const rapidjson::Value& death);
std::string template_text(const rapidjson::Value& entry);
/// A run and its stages.
std::string run_text(const rapidjson::Value& run);

}  // namespace nanobox::cli
