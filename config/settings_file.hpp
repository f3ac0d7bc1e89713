#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.hpp"

namespace nanobox {

/// One thing wrong with a source of settings.
struct SettingProblem {
  std::string place;  ///< "FILE:LINE", "environment", "flag"
  std::string key;    ///< "api.listen_adr"; empty: the file as a whole
  std::string reason;
  std::string mend;
};

/// Lays a TOML text over `settings` and adds the keys it sets to `given`. Never throws.
/// @param name  what problems call it, the file's path
std::vector<SettingProblem> apply_toml(std::string_view text, const std::string& name, Settings& settings,
                                       std::set<std::string, std::less<>>& given);

/// The problem of a key that does not exist, with the nearest that does as the mend.
SettingProblem unknown_key(std::string place, std::string key);

}  // namespace nanobox
