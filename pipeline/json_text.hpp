#pragma once

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/clock.hpp"
#include "config/error.hpp"

namespace nanobox {

using JsonWriter = rapidjson::Writer<rapidjson::StringBuffer>;

/// Shorthands over RapidJSON's writer for the records' serialisers.
inline void put(JsonWriter& json, std::string_view key) {
  json.Key(key.data(), static_cast<rapidjson::SizeType>(key.size()));
}
inline void put_text(JsonWriter& json, std::string_view key, std::string_view value) {
  put(json, key);
  json.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
}
inline void put_text_or_null(JsonWriter& json, std::string_view key, std::string_view value) {
  if (value.empty()) {
    put(json, key);
    json.Null();
  } else {
    put_text(json, key, value);
  }
}
inline void put_time(JsonWriter& json, std::string_view key, const std::optional<WallTime>& time) {
  put_text_or_null(json, key, time ? to_rfc3339(*time) : "");
}
void put_strings(JsonWriter& json, std::string_view key, const std::vector<std::string>& values);
/// An error as the problem object that a record keeps: {"code","title"…}; null where there is none.
void put_error(JsonWriter& json, std::string_view key, const std::optional<Error>& error);
std::optional<Error> error_from_json(const rapidjson::Value& value);

std::string text_at(const rapidjson::Value& object, const char* key);
std::uint64_t number_at(const rapidjson::Value& object, const char* key, std::uint64_t otherwise = 0);
std::vector<std::string> strings_at(const rapidjson::Value& object, const char* key);

}  // namespace nanobox
