#include "pipeline/json_text.hpp"

namespace nanobox {

void put_strings(JsonWriter& json, std::string_view key, const std::vector<std::string>& values) {
  put(json, key);
  json.StartArray();
  for (const auto& value : values) json.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  json.EndArray();
}

void put_error(JsonWriter& json, std::string_view key, const std::optional<Error>& error) {
  put(json, key);
  if (!error) {
    json.Null();
    return;
  }
  json.StartObject();
  put_text(json, "code", to_string(error->code));
  put_text(json, "detail", describe(*error));
  put_text(json, "attempted", error->attempted);
  put_text(json, "subject", error->subject);
  put_text(json, "reason", error->reason);
  put_text(json, "mend", error->mend);
  json.EndObject();
}

std::optional<Error> error_from_json(const rapidjson::Value& value) {
  if (!value.IsObject()) return std::nullopt;
  Error error{.code = ErrorCode::internal,
              .attempted = text_at(value, "attempted"),
              .subject = text_at(value, "subject"),
              .reason = text_at(value, "reason"),
              .mend = text_at(value, "mend")};
  const std::string code = text_at(value, "code");
#define NANOBOX_X(name) \
  if (code == #name) error.code = ErrorCode::name;
  NANOBOX_ERROR_CODES(NANOBOX_X)
#undef NANOBOX_X
  return error;
}

std::string text_at(const rapidjson::Value& object, const char* key) {
  const auto found = object.FindMember(key);
  if (found == object.MemberEnd() || !found->value.IsString()) return {};
  return {found->value.GetString(), found->value.GetStringLength()};
}

std::uint64_t number_at(const rapidjson::Value& object, const char* key, std::uint64_t otherwise) {
  const auto found = object.FindMember(key);
  return found != object.MemberEnd() && found->value.IsUint64() ? found->value.GetUint64() : otherwise;
}

std::vector<std::string> strings_at(const rapidjson::Value& object, const char* key) {
  std::vector<std::string> values;
  const auto found = object.FindMember(key);
  if (found != object.MemberEnd() && found->value.IsArray())
    for (const auto& value : found->value.GetArray())
      if (value.IsString()) values.emplace_back(value.GetString(), value.GetStringLength());
  return values;
}

}  // namespace nanobox
