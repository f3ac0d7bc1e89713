#include "tools/nanobox/options.hpp"

#include <algorithm>

#include "config/byte_size.hpp"
#include "config/edit_distance.hpp"
#include "config/whole_number.hpp"

namespace nanobox::cli {
namespace {

tl::unexpected<Error> refuse(std::string subject, std::string reason, std::string mend) {
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "read command line",
               .subject = std::move(subject),
               .reason = std::move(reason),
               .mend = std::move(mend)});
}

tl::unexpected<Error> unknown(const std::string& word, const std::vector<Option>& options) {
  std::vector<std::string> known;
  for (const auto& option : options) known.push_back("--" + std::string(option.name));
  const auto near = nearest(word, known);
  return refuse(word, "there is no such option", near ? "did you mean " + *near + "?" : "see --help");
}

tl::unexpected<Error> needs_value(const std::string& shown, const Option& option) {
  return refuse(shown, "it needs a value", "write " + shown + " " + std::string(option.value));
}

/// `--name`, `--name=VALUE`, `--name VALUE` at `at`, which is left at the last word taken.
Result<void> read_long(const std::vector<std::string>& args, std::size_t& at, const std::vector<Option>& options,
                       Arguments& parsed) {
  const std::string& word = args[at];
  const auto equals = word.find('=');
  const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
  const std::string shown = "--" + name;
  const auto option = std::ranges::find(options, std::string_view(name), &Option::name);
  if (option == options.end()) return unknown(shown, options);
  auto& values = parsed.options[name];
  if (option->value.empty()) {
    if (equals != std::string::npos) return refuse(shown, "it takes no value", "");
    values.emplace_back();
  } else if (equals != std::string::npos) {
    values.push_back(word.substr(equals + 1));
  } else if (at + 1 < args.size()) {
    values.push_back(args[++at]);
  } else {
    return needs_value(shown, *option);
  }
  return {};
}

/// `-l`, `-lVALUE`, `-l VALUE`, and switches in one word: `-it`.
Result<void> read_letters(const std::vector<std::string>& args, std::size_t& at, const std::vector<Option>& options,
                          Arguments& parsed) {
  const std::string& word = args[at];
  for (std::size_t letter = 1; letter < word.size(); ++letter) {
    const std::string shown = std::string("-") + word[letter];
    const auto option = std::ranges::find(options, word[letter], &Option::letter);
    if (option == options.end()) return unknown(word.size() == 2 ? word : shown, options);
    auto& values = parsed.options[std::string(option->name)];
    if (option->value.empty()) {
      values.emplace_back();
      continue;
    }
    if (letter + 1 < word.size())
      values.push_back(word.substr(letter + 1));
    else if (at + 1 < args.size())
      values.push_back(args[++at]);
    else
      return needs_value(shown, *option);
    break;
  }
  return {};
}

}  // namespace

std::optional<std::string> Arguments::value(std::string_view name) const {
  const auto found = options.find(name);
  if (found == options.end()) return std::nullopt;
  return found->second.back();
}

std::vector<std::string> Arguments::values(std::string_view name) const {
  const auto found = options.find(name);
  return found == options.end() ? std::vector<std::string>{} : found->second;
}

Result<Arguments> parse_arguments(const std::vector<std::string>& args, const std::vector<Option>& options,
                                  WordOrder order) {
  Arguments parsed;
  for (std::size_t at = 0; at < args.size(); ++at) {
    const std::string& word = args[at];
    const bool ended = order == WordOrder::command_last && !parsed.words.empty();
    if (word == "--" && (!ended || parsed.words.size() == 1)) {
      parsed.words.insert(parsed.words.end(), args.begin() + static_cast<std::ptrdiff_t>(at) + 1, args.end());
      break;
    }
    if (ended || word.size() < 2 || word.front() != '-') {
      parsed.words.push_back(word);
      continue;
    }
    NANOBOX_TRY(word.starts_with("--") ? read_long(args, at, options, parsed)
                                       : read_letters(args, at, options, parsed));
  }
  return parsed;
}

Result<std::optional<std::uint64_t>> number_option(const Arguments& arguments, std::string_view name,
                                                   std::uint64_t least, std::uint64_t most) {
  const auto text = arguments.value(name);
  if (!text) return std::nullopt;
  const auto number = whole_number<std::uint64_t>(*text);
  if (!number || *number < least || *number > most)
    return refuse("--" + std::string(name) + " " + *text,
                  "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most), "");
  return number;
}

Result<std::optional<std::uint64_t>> seconds_option(const Arguments& arguments, std::string_view name,
                                                    std::uint64_t least, std::uint64_t most) {
  const auto text = arguments.value(name);
  if (!text) return std::nullopt;
  const auto subject = "--" + std::string(name) + " " + *text;
  std::string_view digits = *text;
  const char unit = digits.empty() ? '\0' : digits.back();
  const std::uint64_t scale = unit == 'h' ? 3600 : unit == 'm' ? 60 : 1;
  if (unit == 's' || unit == 'm' || unit == 'h') digits.remove_suffix(1);
  const auto number = whole_number<std::uint64_t>(digits);
  if (!number) return refuse(subject, "it is no duration", "write seconds, or 90s, 10m or 1h");
  if (*number > most / scale || *number * scale < least)
    return refuse(subject, "must be from " + std::to_string(least) + " to " + std::to_string(most) + " seconds", "");
  return *number * scale;
}

Result<std::optional<std::uint64_t>> size_mb_option(const Arguments& arguments, std::string_view name) {
  const auto text = arguments.value(name);
  if (!text) return std::nullopt;
  const auto bytes = parse_byte_size(*text, 1ULL << 20);
  if (!bytes) return refuse("--" + std::string(name) + " " + *text, bytes.error().reason, bytes.error().mend);
  return (*bytes + (1ULL << 20) - 1) >> 20;
}

}  // namespace nanobox::cli
