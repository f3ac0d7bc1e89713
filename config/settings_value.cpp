#include "config/settings_value.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "config/edit_distance.hpp"

namespace nanobox {
namespace {

using Path = std::filesystem::path;

std::string_view kind_of(const RawValue& value) {
  struct Kind {
    std::string_view operator()(bool) const { return "true or false"; }
    std::string_view operator()(std::int64_t) const { return "a whole number"; }
    std::string_view operator()(double) const { return "a number with a fraction"; }
    std::string_view operator()(const std::string&) const { return "a text"; }
    std::string_view operator()(const std::vector<std::string>&) const { return "an array"; }
    std::string_view operator()(const OtherValue& other) const { return other.kind; }
  };
  return std::visit(Kind{}, value);
}

tl::unexpected<ValueProblem> refuse(std::string reason, std::string mend = "") {
  return tl::unexpected<ValueProblem>(ValueProblem{std::move(reason), std::move(mend)});
}

tl::unexpected<ValueProblem> wrong_type(const SettingKey& key, const RawValue& value) {
  return refuse("must be " + std::string(type_name(key)) + ", not " + std::string(kind_of(value)));
}

std::string plain(double number) {
  char text[32];
  const auto [end, ignored] = std::to_chars(text, text + sizeof text, number);
  return {text, end};
}

ValueResult in_range(const SettingKey& key, double number) {
  if (std::isfinite(number) && number >= key.least && number <= key.most) return {};
  if (key.most > 1e15) return refuse("must be at least " + plain(key.least));
  return refuse("must be " + plain(key.least) + " to " + plain(key.most));
}

ValueResult printable(std::string_view text) {
  if (std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    return refuse("holds a control character");
  return {};
}

/// Puts a value into a place of one type.
struct Fill {
  const SettingKey& key;
  const RawValue& value;

  ValueResult operator()(bool& place) const {
    const auto* flag = std::get_if<bool>(&value);
    if (flag == nullptr) return wrong_type(key, value);
    place = *flag;
    return {};
  }

  ValueResult operator()(std::uint64_t& place) const {
    const auto* number = std::get_if<std::int64_t>(&value);
    if (number == nullptr) return wrong_type(key, value);
    if (auto fits = in_range(key, static_cast<double>(*number)); !fits) return fits;
    place = static_cast<std::uint64_t>(*number);
    return {};
  }

  ValueResult operator()(double& place) const {
    double number = 0;
    if (const auto* fraction = std::get_if<double>(&value))
      number = *fraction;
    else if (const auto* whole = std::get_if<std::int64_t>(&value))
      number = static_cast<double>(*whole);
    else
      return wrong_type(key, value);
    if (auto fits = in_range(key, number); !fits) return fits;
    place = number;
    return {};
  }

  ValueResult operator()(std::string& place) const {
    const auto* text = std::get_if<std::string>(&value);
    if (text == nullptr) return wrong_type(key, value);
    if (auto fine = printable(*text); !fine) return fine;
    if (!key.choices.empty() && !(text->empty() && !key.otherwise.empty())) return choose(*text, place);
    place = *text;
    return {};
  }

  ValueResult operator()(Path& place) const {
    const auto* text = std::get_if<std::string>(&value);
    if (text == nullptr) return wrong_type(key, value);
    if (auto fine = printable(*text); !fine) return fine;
    place = *text;
    return {};
  }

  ValueResult operator()(std::vector<std::string>& place) const {
    const auto* texts = std::get_if<std::vector<std::string>>(&value);
    if (texts == nullptr) return wrong_type(key, value);
    for (const auto& text : *texts) {
      if (text.empty()) return refuse("holds an empty text");
      if (text.find_first_of(" \t") != std::string::npos) return refuse("holds a text with a space");
      if (auto fine = printable(text); !fine) return fine;
    }
    place = *texts;
    return {};
  }

  ValueResult operator()(std::vector<Path>& place) const {
    const auto* texts = std::get_if<std::vector<std::string>>(&value);
    if (texts == nullptr) return wrong_type(key, value);
    for (const auto& text : *texts) {
      if (auto fine = printable(text); !fine) return fine;
      if (!text.starts_with('/') && !text.starts_with("~/"))
        return refuse("holds '" + text + "', which is no absolute path", "write the whole path, from / or ~/");
    }
    place.assign(texts->begin(), texts->end());
    return {};
  }

  ValueResult operator()(ListenAddress& place) const {
    const auto* text = std::get_if<std::string>(&value);
    if (text == nullptr) return wrong_type(key, value);
    auto parsed = parse_listen_address(*text);
    if (!parsed) return refuse(parsed.error().reason, parsed.error().mend);
    place = std::move(*parsed);
    return {};
  }

  ValueResult operator()(std::optional<ListenAddress>& place) const {
    const auto* text = std::get_if<std::string>(&value);
    if (text != nullptr && text->empty()) {
      place.reset();
      return {};
    }
    ListenAddress address;
    auto filled = (*this)(address);
    if (filled) place = std::move(address);
    return filled;
  }

  ValueResult operator()(Ipv4Subnet& place) const {
    const auto* text = std::get_if<std::string>(&value);
    if (text == nullptr) return wrong_type(key, value);
    const auto parsed = parse_subnet(*text);
    if (!parsed) return refuse(parsed.error().reason, parsed.error().mend);
    place = *parsed;
    return {};
  }

private:
  ValueResult choose(const std::string& text, std::string& place) const {
    if (std::ranges::find(key.choices, text) != key.choices.end()) {
      place = text;
      return {};
    }
    const std::vector<std::string> known(key.choices.begin(), key.choices.end());
    std::string list;
    for (const auto& choice : known) list += (list.empty() ? "" : ", ") + choice;
    const auto near = nearest(text, known);
    return refuse("'" + text + "' is none of " + list, near ? "did you mean '" + *near + "'?" : "");
  }
};

template <class Number>
std::optional<Number> whole_text(std::string_view text) {
  Number number{};
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (wrong != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::vector<std::string> split_at_commas(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    parts.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return parts;
}

/// Reads text by the type of the place that it is meant for.
struct Read {
  std::string_view text;

  RawValue operator()(bool& (*)(Settings&, std::size_t)) const {
    if (text == "true" || text == "1" || text == "yes") return true;
    if (text == "false" || text == "0" || text == "no") return false;
    return std::string(text);
  }
  RawValue operator()(std::uint64_t& (*)(Settings&, std::size_t)) const {
    if (const auto number = whole_text<std::int64_t>(text)) return *number;
    return std::string(text);
  }
  RawValue operator()(double& (*)(Settings&, std::size_t)) const {
    if (const auto number = whole_text<double>(text)) return *number;
    return std::string(text);
  }
  RawValue operator()(std::vector<std::string>& (*)(Settings&, std::size_t)) const { return split_at_commas(text); }
  RawValue operator()(std::vector<Path>& (*)(Settings&, std::size_t)) const { return split_at_commas(text); }
  template <class Other>
  RawValue operator()(Other& (*)(Settings&, std::size_t)) const {
    return std::string(text);
  }
};

}  // namespace

ValueResult set_value(const SettingKey& key, const RawValue& value, Settings& settings, std::size_t item) {
  return std::visit([&](auto place) { return Fill{key, value}(place(settings, item)); }, key.place);
}

ValueResult set_text(const SettingKey& key, std::string_view text, Settings& settings) {
  return set_value(key, std::visit(Read{text}, key.place), settings);
}

}  // namespace nanobox
