#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/settings.hpp"

namespace nanobox {

/// Where a key's value lives in Settings, and by that its type. The number is the item's, for keys of arrays of tables.
using SettingPlace = std::variant<
    bool& (*)(Settings&, std::size_t), std::uint64_t& (*)(Settings&, std::size_t), double& (*)(Settings&, std::size_t),
    std::string& (*)(Settings&, std::size_t), std::filesystem::path& (*)(Settings&, std::size_t),
    std::vector<std::string>& (*)(Settings&, std::size_t),
    std::vector<std::filesystem::path>& (*)(Settings&, std::size_t), ListenAddress& (*)(Settings&, std::size_t),
    std::optional<ListenAddress>& (*)(Settings&, std::size_t), Ipv4Subnet& (*)(Settings&, std::size_t)>;

/// One row of the schema. `name` is "section.key", or "section.list[].key" in an array of tables. Its default is what
/// `place` holds in a `Settings{}`.
struct SettingKey {
  std::string_view name;
  SettingPlace place;
  std::string_view help;
  std::string_view otherwise = "";                 ///< what an empty default stands for, in words
  std::span<const std::string_view> choices = {};  ///< of texts: the only values; none: any
  double least = 0;                                ///< of numbers
  double most = 9e15;
  bool secret = false;

  std::string_view section() const { return name.substr(0, name.find('.')); }
  bool in_list() const { return name.find("[]") != std::string_view::npos; }
};

/// An array of tables: "pool.templates". Its keys are the rows "pool.templates[].…".
struct SettingList {
  std::string_view name;
  std::size_t (*size)(const Settings&);
  void (*append)(Settings&);
};

/// The whole schema, in the order it is printed.
std::span<const SettingKey> setting_keys();
std::span<const SettingList> setting_lists();

/// The row of that name; null where there is none.
const SettingKey* find_setting(std::string_view name);

/// "api.listen_addr" → "NANOBOX_API_LISTEN_ADDR".
std::string environment_name(const SettingKey& key);

/// "text", "yes or no", "whole number", …
std::string_view type_name(const SettingKey& key);

/// A value as TOML text, as it is in `settings`.
std::string value_text(const SettingKey& key, const Settings& settings, std::size_t item = 0);

/// A table for people: key, type, default, help; what `nanoboxd --help` shows.
std::string describe_settings();

}  // namespace nanobox
