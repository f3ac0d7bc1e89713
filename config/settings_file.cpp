#include "config/settings_file.hpp"

#include <toml++/toml.h>
#include <algorithm>

#include "config/edit_distance.hpp"
#include "config/settings_table.hpp"
#include "config/settings_value.hpp"

namespace nanobox {
namespace {

constexpr std::size_t kMaxItems = 10'000;

std::string_view kind_of(toml::node_type type) {
  switch (type) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::date:
      return "a date";
    case toml::node_type::time:
      return "a time";
    case toml::node_type::date_time:
      return "a date";
    default:
      return "another type";
  }
}

RawValue raw_value(const toml::node& node) {
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* array = node.as_array()) {
    std::vector<std::string> texts;
    for (const auto& element : *array) {
      const auto* text = element.as_string();
      if (text == nullptr) return OtherValue{"an array with other things than texts"};
      texts.push_back(text->get());
    }
    return texts;
  }
  return OtherValue{kind_of(node.type())};
}

/// A key as a person would write it, short enough for a message.
std::string shown(std::string_view key) {
  std::string out;
  for (const char c : key.substr(0, 64)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return key.size() > 64 ? out + "…" : out;
}

class Reader {
public:
  Reader(const std::string& name, Settings& settings, std::set<std::string, std::less<>>& given)
      : name_(name), settings_(settings), given_(given) {}

  void document(const toml::table& root) {
    for (const auto& [key, node] : root) {
      const bool known =
          std::ranges::any_of(setting_keys(), [&, &key = key](const auto& row) { return row.section() == key.str(); });
      if (!known)
        problems_.push_back(unknown_key(place(key.source()), shown(key.str())));
      else if (const auto* section = node.as_table())
        table(*section, std::string(key.str()) + ".", 0);
      else
        add(key.source(), shown(key.str()), "must be a table, not " + std::string(kind_of(node.type())),
            "write [" + shown(key.str()) + "] and its keys below it");
    }
  }

  std::vector<SettingProblem> take() { return std::move(problems_); }

private:
  std::string place(const toml::source_region& source) const { return name_ + ":" + std::to_string(source.begin.line); }

  void add(const toml::source_region& source, std::string key, std::string reason, std::string mend) {
    problems_.push_back({place(source), std::move(key), std::move(reason), std::move(mend)});
  }

  void table(const toml::table& table, const std::string& prefix, std::size_t item) {
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      const auto list = std::ranges::find(setting_lists(), name, &SettingList::name);
      if (list != setting_lists().end()) {
        items(*list, key.source(), node);
      } else if (const auto* row = find_setting(name)) {
        given_.insert(name);
        if (auto set = set_value(*row, raw_value(node), settings_, item); !set)
          add(key.source(), name, set.error().reason, set.error().mend);
      } else {
        problems_.push_back(unknown_key(place(key.source()), prefix + shown(key.str())));
      }
    }
  }

  void items(const SettingList& list, const toml::source_region& source, const toml::node& node) {
    const auto* array = node.as_array();
    const bool tables =
        array != nullptr && std::ranges::all_of(*array, [](const auto& element) { return element.is_table(); });
    if (!tables) {
      add(source, std::string(list.name), "must be an array of tables",
          "write [[" + std::string(list.name) + "]] for each");
      return;
    }
    if (array->size() > kMaxItems) {
      add(source, std::string(list.name), "has more than " + std::to_string(kMaxItems) + " entries", "");
      return;
    }
    given_.insert(std::string(list.name));
    for (const auto& element : *array) {
      const auto item = list.size(settings_);
      list.append(settings_);
      required(list, *element.as_table());
      table(*element.as_table(), std::string(list.name) + "[].", item);
    }
  }

  void required(const SettingList& list, const toml::table& table) {
    // The first key of an entry says what it is about.
    const std::string prefix = std::string(list.name) + "[].";
    const auto row =
        std::ranges::find_if(setting_keys(), [&](const auto& key) { return key.name.starts_with(prefix); });
    const auto key = row->name.substr(prefix.size());
    const auto* value = table.get_as<std::string>(key);
    if (!table.contains(key) || (value != nullptr && value->get().empty()))
      add(table.source(), std::string(row->name), "is missing or empty",
          "every [[" + std::string(list.name) + "]] needs one");
  }

  const std::string& name_;
  Settings& settings_;
  std::set<std::string, std::less<>>& given_;
  std::vector<SettingProblem> problems_;
};

}  // namespace

SettingProblem unknown_key(std::string place, std::string key) {
  std::vector<std::string> known;
  const bool whole_section = key.find('.') == std::string::npos;
  for (const auto& row : setting_keys()) {
    const auto name = whole_section ? row.section() : row.name;
    if (known.empty() || known.back() != name) known.emplace_back(name);
  }
  for (const auto& list : setting_lists()) known.emplace_back(list.name);
  const auto near = nearest(key, known);
  return {.place = std::move(place),
          .key = std::move(key),
          .reason = whole_section ? "there is no such section" : "there is no such key",
          .mend = near ? "did you mean '" + *near + "'?" : ""};
}

std::vector<SettingProblem> apply_toml(std::string_view text, const std::string& name, Settings& settings,
                                       std::set<std::string, std::less<>>& given) {
  try {
    const toml::table root = toml::parse(text, std::string_view(name));
    Reader reader(name, settings, given);
    reader.document(root);
    return reader.take();
  } catch (const toml::parse_error& error) {
    return {{.place = name + ":" + std::to_string(error.source().begin.line) + ":" +
                      std::to_string(error.source().begin.column),
             .key = "",
             .reason = "it is no TOML: " + std::string(error.description()),
             .mend = ""}};
  }
}

}  // namespace nanobox
