#include "pipeline/events/event.hpp"

#include "config/utf8.hpp"

namespace nanobox {

namespace {

std::string printable(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const auto length = utf8_sequence_length(bytes);
    text += length == 0 ? std::string_view("?") : bytes.substr(0, length);
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
  return text;
}

}  // namespace

std::string to_json(const Event& event) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "id", event.id);
  put_time(json, "time", event.time);
  put_text(json, "type", event.type);
  put_text_or_null(json, "subject", event.subject);
  put_text_or_null(json, "node_id", event.node_id);
  put_text_or_null(json, "owner", event.owner);
  put(json, "data");
  json.RawValue(event.data.data(), event.data.size(), rapidjson::kObjectType);
  json.EndObject();
  return buffer.GetString();
}

EventData::EventData() : json_(buffer_) {
  json_.StartObject();
}

EventData& EventData::text(std::string_view key, std::string_view value) {
  put_text_or_null(json_, key, is_utf8(value) ? std::string(value) : printable(value));
  return *this;
}

EventData& EventData::number(std::string_view key, std::int64_t value) {
  put(json_, key);
  json_.Int64(value);
  return *this;
}

EventData& EventData::null(std::string_view key) {
  put(json_, key);
  json_.Null();
  return *this;
}

std::string EventData::take() {
  json_.EndObject();
  return buffer_.GetString();
}

}  // namespace nanobox
