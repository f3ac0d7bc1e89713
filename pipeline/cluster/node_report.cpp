#include "pipeline/cluster/node_report.hpp"

#include "pipeline/json_text.hpp"

namespace nanobox {

std::string to_record(const NodeStatus& node) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "node_id", node.node_id);
  put(json, "cordoned");
  json.Bool(node.cordoned);
  put(json, "draining");
  json.Bool(node.draining);
  put_time(json, "drain_until", node.drain_until);
  put(json, "epoch");
  json.Uint64(node.epoch);
  put_text(json, "version", node.version);
  put_text(json, "vmm", node.vmm);
  put(json, "subnet_parts");
  json.StartArray();
  for (const auto& part : node.subnet_parts) json.String(part.data(), static_cast<rapidjson::SizeType>(part.size()));
  json.EndArray();
  put_text(json, "overlay_addr", node.overlay_addr);
  put_text(json, "key_digest", node.key_digest);
  put_time(json, "joined_at", node.joined_at);
  put_time(json, "last_heartbeat_at", node.last_heartbeat_at);
  json.EndObject();
  return buffer.GetString();
}

std::optional<NodeStatus> node_from_record(std::string_view text) {
  rapidjson::Document json;
  json.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(text.data(), text.size());
  if (json.HasParseError() || !json.IsObject()) return std::nullopt;
  const auto flag = [&](const char* key) { return json.HasMember(key) && json[key].IsBool() && json[key].GetBool(); };
  NodeStatus node;
  node.node_id = text_at(json, "node_id");
  if (node.node_id.empty()) return std::nullopt;
  node.cordoned = flag("cordoned");
  node.draining = flag("draining");
  node.drain_until = from_rfc3339(text_at(json, "drain_until"));
  node.epoch = number_at(json, "epoch");
  node.version = text_at(json, "version");
  node.vmm = text_at(json, "vmm");
  if (json.HasMember("subnet_parts") && json["subnet_parts"].IsArray())
    for (const auto& part : json["subnet_parts"].GetArray())
      if (part.IsString()) node.subnet_parts.emplace_back(part.GetString(), part.GetStringLength());
  // A record of an earlier version.
  if (auto only = text_at(json, "subnet_part"); !only.empty() && node.subnet_parts.empty())
    node.subnet_parts.push_back(std::move(only));
  node.overlay_addr = text_at(json, "overlay_addr");
  node.key_digest = text_at(json, "key_digest");
  node.joined_at = from_rfc3339(text_at(json, "joined_at")).value_or(WallTime{});
  node.last_heartbeat_at = from_rfc3339(text_at(json, "last_heartbeat_at")).value_or(WallTime{});
  return node;
}

}  // namespace nanobox
