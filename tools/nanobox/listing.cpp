#include "tools/nanobox/listing.hpp"

#include "tools/nanobox/json.hpp"

namespace nanobox::cli {

Result<void> each_item(ApiClient& client, const std::string& path,
                       const std::function<void(const rapidjson::Value&)>& each) {
  const std::string query = path + (path.find('?') == std::string::npos ? "?" : "&") + "limit=1000";
  std::string cursor;
  for (;;) {
    const auto answer = NANOBOX_TRY(
        client.ask({.method = "GET", .path = query + (cursor.empty() ? "" : "&cursor=" + url_encode(cursor))}));
    const auto list = answer.json();
    const auto* items = json_member(list, "items");
    if (items == nullptr || !items->IsArray())
      return fail({.code = ErrorCode::io_failed,
                   .attempted = "list",
                   .subject = path,
                   .reason = "the server's answer is no list",
                   .mend = ""});
    for (const auto& item : items->GetArray()) each(item);
    auto next = json_text(list, "next_cursor");
    if (next.empty() || next == cursor) return {};
    cursor = std::move(next);
  }
}

Result<std::string> whole_list(ApiClient& client, const std::string& path) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  json_key(json, "items");
  json.StartArray();
  NANOBOX_TRY(each_item(client, path, [&](const rapidjson::Value& item) { item.Accept(json); }));
  json.EndArray();
  json_key(json, "next_cursor");
  json.Null();
  json.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize());
}

}  // namespace nanobox::cli
