#include <algorithm>

#include "config/settings.hpp"
#include "config/settings_table.hpp"

namespace nanobox {
namespace {

constexpr std::string_view kMask = "********";

/// The settings with each secret replaced, as many as there were.
Settings masked(Settings settings) {
  for (auto& key : settings.auth.keys) key = kMask;
  for (auto& entry : settings.oci.credentials)
    if (!entry.password.empty()) entry.password = kMask;
  return settings;
}

bool is_empty(std::string_view text) {
  return text == "\"\"";
}

std::string line(const SettingKey& key, std::string_view name, const Settings& settings, std::size_t item) {
  const auto value = value_text(key, settings, item);
  std::string help = "# " + std::string(key.help);
  for (const auto& choice : key.choices) help += (choice == key.choices.front() ? ": " : ", ") + std::string(choice);
  // An empty value that stands for something is not set at all.
  if (is_empty(value) && !key.otherwise.empty())
    return help + "\n# " + std::string(name) + ": " + std::string(key.otherwise) + "\n";
  return help + "\n" + std::string(name) + " = " + value + "\n";
}

}  // namespace

std::string print_settings(const Settings& original) {
  const Settings settings = masked(original);
  std::string out;
  std::string_view section;
  const auto lists_of = [&](std::string_view of) {
    for (const auto& list : setting_lists()) {
      if (!list.name.starts_with(std::string(of) + ".")) continue;
      const auto prefix = std::string(list.name) + "[].";
      for (std::size_t item = 0; item < list.size(settings); ++item) {
        out += "\n[[" + std::string(list.name) + "]]\n";
        for (const auto& key : setting_keys())
          if (key.name.starts_with(prefix)) out += line(key, key.name.substr(prefix.size()), settings, item);
      }
    }
  };
  for (const auto& key : setting_keys()) {
    if (key.section() != section) {
      if (!section.empty()) lists_of(section);
      section = key.section();
      out += (out.empty() ? "[" : "\n[") + std::string(section) + "]\n";
    }
    if (!key.in_list()) out += line(key, key.name.substr(section.size() + 1), settings, 0);
  }
  lists_of(section);
  return out;
}

}  // namespace nanobox
