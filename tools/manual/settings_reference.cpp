#include <cstdio>
#include <iostream>
#include <string>

#include "config/settings_table.hpp"

namespace nanobox {
namespace {

/// Calls `key` for each row of the schema, and `begin` before a section's first row and before that of each list in it.
template <class Begin, class Each>
void walk(const Begin& begin, const Each& each) {
  std::string table;
  for (const bool lists : {false, true})
    for (const auto& key : setting_keys()) {
      if (key.in_list() != lists) continue;
      const auto dot = key.name.rfind('.');
      std::string of(key.name.substr(0, dot));
      if (lists) of.resize(of.size() - 2);
      if (of != table) begin(of, lists);
      table = of;
      each(key, key.name.substr(dot + 1));
    }
}

/// The value of a key that is not set, as TOML; "" where it is worked out at the start.
std::string default_text(const SettingKey& key) {
  if (key.in_list()) return "";
  const auto text = value_text(key, Settings{});
  return text == "\"\"" || !key.otherwise.empty() ? "" : text;
}

std::string example() {
  std::string out =
      "# The settings of nanoboxd(8), explained in nanobox.toml(5). What is commented out is the default.\n"
      "# 'nanoboxd --check-config' looks through this file, 'systemctl restart nanoboxd' makes it count.\n";
  walk([&](const std::string& table,
           bool is_list) { out += is_list ? "\n#[[" + table + "]]\n" : "\n[" + table + "]\n"; },
       [&](const SettingKey& key, std::string_view name) {
         out += "# " + std::string(key.help);
         for (const auto& choice : key.choices)
           out += (choice == key.choices.front() ? ": " : ", ") + std::string(choice);
         if (!key.otherwise.empty()) out += "; else " + std::string(key.otherwise);
         const auto value = default_text(key);
         out += "\n#" + std::string(name) + " = " + value + "\n";
       });
  return out;
}

/// Text that mdoc takes for text.
std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '\\' ? "\\e" : c == '-' ? "\\-" : std::string(1, c);
  return !out.empty() && (out.front() == '.' || out.front() == '\'') ? "\\&" + out : out;
}

std::string manual() {
  std::string out;
  bool open = false;
  walk(
      [&](const std::string& table, bool is_list) {
        if (open) out += ".El\n";
        open = true;
        out +=
            ".Ss " + (is_list ? "[[" + table + "]], as often as needed" : "[" + table + "]") + "\n.Bl -tag -width Ds\n";
      },
      [&](const SettingKey& key, std::string_view name) {
        out += ".It Sy " + plain(name) + " Pq " + plain(type_name(key)) + "\n" + plain(key.help) + ".\n";
        if (!key.choices.empty()) {
          std::string choices;
          for (const auto& choice : key.choices) choices += (choices.empty() ? "" : ", ") + std::string(choice);
          out += "One of " + plain(choices) + ".\n";
        }
        const auto value = key.otherwise.empty() ? default_text(key) : std::string(key.otherwise);
        if (!value.empty()) out += "Without it: " + plain(value) + ".\n";
        if (!key.in_list()) out += "Environment:\n.Ev " + environment_name(key) + " .\n";
      });
  return out + (open ? ".El\n" : "");
}

}  // namespace
}  // namespace nanobox

/// Prints the schema of the settings: as a nanobox.toml with all defaults (`toml`), or as sections of a page (`mdoc`).
int main(int argc, char** argv) {
  const std::string_view form = argc == 2 ? argv[1] : "";
  if (form != "toml" && form != "mdoc") {
    std::fputs("usage: settings_reference toml|mdoc\n", stderr);
    return 2;
  }
  std::cout << (form == "toml" ? nanobox::example() : nanobox::manual());
  return 0;
}
