#include "tools/nanobox/json.hpp"

namespace nanobox::cli {

const rapidjson::Value* json_member(const rapidjson::Value& object, std::string_view key) {
  if (!object.IsObject()) return nullptr;
  for (const auto& member : object.GetObject())
    if (std::string_view(member.name.GetString(), member.name.GetStringLength()) == key) return &member.value;
  return nullptr;
}

std::string json_text(const rapidjson::Value& object, std::string_view key) {
  const auto* value = json_member(object, key);
  return value != nullptr && value->IsString() ? std::string(value->GetString(), value->GetStringLength()) : "";
}

std::int64_t json_number(const rapidjson::Value& object, std::string_view key, std::int64_t otherwise) {
  const auto* value = json_member(object, key);
  return value != nullptr && value->IsInt64() ? value->GetInt64() : otherwise;
}

bool json_flag(const rapidjson::Value& object, std::string_view key) {
  const auto* value = json_member(object, key);
  return value != nullptr && value->IsTrue();
}

std::int64_t json_number_in(const rapidjson::Value& object, std::string_view outer, std::string_view key) {
  const auto* value = json_member(object, outer);
  return value != nullptr ? json_number(*value, key) : 0;
}

void json_string(JsonWriter& json, std::string_view value) {
  json.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
}

void json_key(JsonWriter& json, std::string_view key) {
  json.Key(key.data(), static_cast<rapidjson::SizeType>(key.size()));
}

void json_put(JsonWriter& json, std::string_view key, std::string_view value) {
  json_key(json, key);
  json_string(json, value);
}

void json_put(JsonWriter& json, std::string_view key, std::uint64_t value) {
  json_key(json, key);
  json.Uint64(value);
}

}  // namespace nanobox::cli
