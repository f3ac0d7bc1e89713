#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"

namespace nanobox::cli {

/// One option of a command.
struct Option {
  std::string_view name;   ///< "memory": written --memory
  char letter = 0;         ///< 'm': also -m; 0: none
  std::string_view value;  ///< what its value is called, "SIZE"; empty: a switch
  std::string_view help;
};

/// What a command line says.
struct Arguments {
  std::map<std::string, std::vector<std::string>, std::less<>> options;  ///< by name; switches hold ""
  std::vector<std::string> words;

  bool has(std::string_view name) const { return options.contains(name); }
  /// The last value given; nothing: not given.
  std::optional<std::string> value(std::string_view name) const;
  /// Every value given.
  std::vector<std::string> values(std::string_view name) const;
};

/// How options and words may mix.
enum class WordOrder {
  mixed,         ///< options anywhere, until "--"
  command_last,  ///< the first word ends our options: what follows is a command with options of its own
};

/// Reads `--name VALUE`, `--name=VALUE`, `-nVALUE`, `-n VALUE`, `-it` (switches in one word), `--`. "--" right after
/// the first word is dropped.
/// @errors invalid_value: an unknown option (the mend names the nearest), or a value too many or missing
Result<Arguments> parse_arguments(const std::vector<std::string>& args, const std::vector<Option>& options,
                                  WordOrder order);

/// A whole number from `least` to `most` out of an option. @errors invalid_value
Result<std::optional<std::uint64_t>> number_option(const Arguments& arguments, std::string_view name,
                                                   std::uint64_t least, std::uint64_t most);

/// Seconds from `least` to `most` out of an option: "90", "90s", "10m", "1h". @errors invalid_value
Result<std::optional<std::uint64_t>> seconds_option(const Arguments& arguments, std::string_view name,
                                                    std::uint64_t least, std::uint64_t most);

/// A size in MiB out of an option: "512", "512M", "2G". @errors invalid_value
Result<std::optional<std::uint64_t>> size_mb_option(const Arguments& arguments, std::string_view name);

}  // namespace nanobox::cli
