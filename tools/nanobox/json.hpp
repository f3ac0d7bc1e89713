#pragma once

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace nanobox::cli {

/// Reading answers without trusting their shape: what is missing or of another type reads as empty.
const rapidjson::Value* json_member(const rapidjson::Value& object, std::string_view key);
std::string json_text(const rapidjson::Value& object, std::string_view key);
std::int64_t json_number(const rapidjson::Value& object, std::string_view key, std::int64_t otherwise = 0);
bool json_flag(const rapidjson::Value& object, std::string_view key);
/// A member of a member: "resources", "vcpu".
std::int64_t json_number_in(const rapidjson::Value& object, std::string_view outer, std::string_view key);

using JsonWriter = rapidjson::Writer<rapidjson::StringBuffer>;
void json_put(JsonWriter& json, std::string_view key, std::string_view value);
void json_put(JsonWriter& json, std::string_view key, std::uint64_t value);
void json_key(JsonWriter& json, std::string_view key);
void json_string(JsonWriter& json, std::string_view value);

}  // namespace nanobox::cli
