#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/settings_table.hpp"

namespace nanobox {

/// A value as a source gives it, before the schema has judged it.
struct OtherValue {
  std::string_view kind;  ///< "a table", "a date", …
};
using RawValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>, OtherValue>;

/// Why a value does not fit its key: what is wrong, and the mend.
struct ValueProblem {
  std::string reason;
  std::string mend;
};
using ValueResult = tl::expected<void, ValueProblem>;

/// Puts a typed value (from TOML) where the key says.
ValueResult set_value(const SettingKey& key, const RawValue& value, Settings& settings, std::size_t item = 0);

/// Reads a value written as text (environment, flag) by the key's type, and puts it where the key says.
ValueResult set_text(const SettingKey& key, std::string_view text, Settings& settings);

}  // namespace nanobox
