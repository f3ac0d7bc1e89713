#include "actors/cluster/placed_sandbox.hpp"

#include "pipeline/json_text.hpp"

namespace nanobox {

std::string to_record(const PlacedSandbox& placed) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put(json, "given_up");
  json.Bool(placed.given_up);
  put_text(json, "node_id", placed.sandbox.node_id);
  put_strings(json, "left_with", placed.left_with);
  put_strings(json, "copies", placed.copies);
  const auto record = to_record(placed.sandbox);
  put(json, "sandbox");
  json.RawValue(record.data(), record.size(), rapidjson::kObjectType);
  json.EndObject();
  return buffer.GetString();
}

std::optional<PlacedSandbox> placed_sandbox_from_record(std::string_view text) {
  rapidjson::Document json;
  json.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(text.data(), text.size());
  if (json.HasParseError() || !json.IsObject() || !json.HasMember("sandbox")) return std::nullopt;
  rapidjson::StringBuffer buffer;
  JsonWriter writer(buffer);
  json["sandbox"].Accept(writer);
  auto sandbox = sandbox_from_record({buffer.GetString(), buffer.GetSize()});
  if (!sandbox) return std::nullopt;
  PlacedSandbox placed{.sandbox = std::move(*sandbox)};
  placed.sandbox.node_id = text_at(json, "node_id");
  placed.given_up = json.HasMember("given_up") && json["given_up"].IsBool() && json["given_up"].GetBool();
  placed.left_with = strings_at(json, "left_with");
  placed.copies = strings_at(json, "copies");
  return placed;
}

std::string placement_json(const Decision& decision) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "node_id", decision.node_id);
  put_strings(json, "because", decision.score);
  put(json, "others");
  json.StartArray();
  for (const auto& verdict : decision.verdicts) {
    json.StartObject();
    put_text(json, "node_id", verdict.node_id);
    put(json, "fits");
    json.Bool(verdict.fits);
    put_text(json, "why", verdict.why);
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  return buffer.GetString();
}

}  // namespace nanobox
