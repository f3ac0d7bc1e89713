#pragma once

#include <rapidjson/document.h>

#include <string>
#include <string_view>
#include <vector>

namespace nanobox {

/// Shorthands for documents of which a few fields matter; manifest.cpp is stricter and has its own.
using Json = rapidjson::Value;

/// Whether `text` is valid JSON in valid UTF-8; never recurses.
inline bool parse_json(rapidjson::Document& document, std::string_view text) {
  constexpr unsigned flags = rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag;
  document.Parse<flags>(text.data(), text.size());
  return !document.HasParseError();
}

/// The member of an object; null where there is none, or where `value` is no object.
inline const Json* json_member(const Json& value, const char* key) {
  if (!value.IsObject()) return nullptr;
  const auto found = value.FindMember(key);
  return found == value.MemberEnd() ? nullptr : &found->value;
}

/// The text of a member; empty where there is none.
inline std::string json_text(const Json& value, const char* key) {
  const auto* member = json_member(value, key);
  return member && member->IsString() ? std::string(member->GetString(), member->GetStringLength()) : std::string();
}

inline std::vector<std::string> json_texts(const Json& value, const char* key) {
  std::vector<std::string> out;
  const auto* member = json_member(value, key);
  if (!member || !member->IsArray()) return out;
  for (const auto& item : member->GetArray())
    if (item.IsString()) out.emplace_back(item.GetString(), item.GetStringLength());
  return out;
}

}  // namespace nanobox
