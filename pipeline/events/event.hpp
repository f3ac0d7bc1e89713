#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/clock.hpp"
#include "pipeline/json_text.hpp"

namespace nanobox {

/// Something that happened, as whoever saw it tells it.
struct NewEvent {
  std::string type;         ///< one of event_types()
  std::string subject;      ///< sandbox id, template name, node id, concern; empty: none
  std::string node_id;      ///< empty: none
  std::string owner;        ///< empty: the cluster's own, which only the administrator sees
  std::string data = "{}";  ///< a JSON object
  bool operator==(const NewEvent&) const = default;
};

/// The same once it is kept.
struct Event : NewEvent {
  std::string id;  ///< "ev-…", ascending
  WallTime time{};
};

/// As the API shows it; what is empty is null.
std::string to_json(const Event& event);

/// Writes an event's `data`. Bytes that are no UTF-8 become question marks.
class EventData {
public:
  EventData();
  /// An empty text is null.
  EventData& text(std::string_view key, std::string_view value);
  EventData& number(std::string_view key, std::int64_t value);
  EventData& null(std::string_view key);
  std::string take();

private:
  rapidjson::StringBuffer buffer_;
  JsonWriter json_;
};

}  // namespace nanobox
