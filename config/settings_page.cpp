#include "config/settings_page.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "config/settings_table.hpp"

namespace nanobox {
namespace {

constexpr std::string_view kHead = R"(# Configuration

<!-- Written by `nanoboxd --print-config-docs` from config/settings_table.cpp: change that and write this page anew. -->

NanoBox needs no configuration. What is set comes from these sources, each stronger than the one before it:

1. the default;
2. the file: `--config FILE`, else `/etc/nanobox/nanobox.toml` where it exists; a section is `[api]`, a key
   `drain_sec = 10`;
3. the environment: `NANOBOX_`, section and key in capitals, joined by `_`: `NANOBOX_API_DRAIN_SEC=10`;
4. flags: `--api.drain_sec=10`.

In environment and flags the items of an array are separated by commas. Tables in double brackets may be repeated, and
come from the file only. `DATA` is `$NANOBOX_DATA`, else `/var/lib/nanobox` as root, else `~/.local/share/nanobox`. Changes
hold from the next start on.

```sh
nanoboxd --print-config                       # what is in force, as a file with help, secrets masked
nanoboxd --api.drain_sec=30 --check-config    # what is wrong, with file, line and key
```
)";

/// What a section is about, and where to read more.
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kSections{{
    {"api", "The REST edge ([api.md](api.md))."},
    {"auth", "Who may call the API ([security.md](security.md), [operations.md](operations.md#keys))."},
    {"agent", "The node: its VMM, its folders, its limits."},
    {"firecracker", "The guest's kernel, of whichever VMM."},
    {"network", "The network of sandboxes ([network.md](network.md))."},
    {"oci", "Images and registries."},
    {"pool", "VMs that wait for their sandbox ([snapshots.md](snapshots.md))."},
    {"cluster", "Many nodes ([cluster.md](cluster.md))."},
    {"events", "Events, and webhooks that get them."},
    {"audit", "Who did what."},
    {"metrics", "`GET /metrics`."},
    {"log", "The daemon's log, on stderr."},
}};

/// A table's cell: `|` parts cells, `<` begins a tag.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c == '<' ? "&lt;" : std::string(1, c);
  }
  return out;
}

std::string code(std::string_view text) {
  return "`" + std::string(text) + "`";
}

std::string number(double value) {
  return std::to_string(static_cast<std::uint64_t>(value));
}

std::string values_of(const SettingKey& key) {
  if (!key.choices.empty()) {
    std::string out;
    for (const auto& choice : key.choices) out += (out.empty() ? "" : ", ") + code(choice);
    return out;
  }
  std::string out(type_name(key));
  constexpr double kNoLimit = SettingKey{}.most;
  // Of a fraction the default bounds are none.
  const bool whole = std::holds_alternative<std::uint64_t& (*)(Settings&, std::size_t)>(key.place);
  if (whole && key.most < kNoLimit) return out + ", " + number(key.least) + " to " + number(key.most);
  if (whole && key.least > 0) return out + ", at least " + number(key.least);
  return out;
}

/// An entry that shows an item's default needs an item.
Settings with_one_of_each() {
  Settings settings;
  for (const auto& list : setting_lists()) list.append(settings);
  return settings;
}

std::string row(const SettingKey& key, std::string_view name, const Settings& defaults) {
  const auto usual = key.otherwise.empty() ? code(value_text(key, defaults)) : std::string(key.otherwise);
  return "| " + code(name) + " | " + cell(usual) + " | " + values_of(key) + " | " + cell(key.help) +
         (key.secret ? " (secret)" : "") + " |\n";
}

constexpr std::string_view kTableHead = "\n| key | default | values | meaning |\n| --- | --- | --- | --- |\n";

}  // namespace

std::string settings_page() {
  const auto defaults = with_one_of_each();
  std::string out(kHead);
  std::string_view table;
  for (const auto& key : setting_keys()) {
    const auto of_list = key.name.find("[].");
    const auto now = key.in_list() ? key.name.substr(0, of_list) : key.section();
    if (now != table) {
      out += key.in_list() ? "\n### [[" + std::string(now) + "]]\n" : "\n## [" + std::string(now) + "]\n";
      const auto* const about = std::ranges::find(kSections, now, [](const auto& section) { return section.first; });
      if (about != kSections.end()) out += std::string(about->second) + "\n";
      out += kTableHead;
      table = now;
    }
    out += row(key, key.name.substr(now.size() + (key.in_list() ? 3 : 1)), defaults);
  }
  return out;
}

}  // namespace nanobox
