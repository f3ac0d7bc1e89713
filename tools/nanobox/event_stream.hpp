#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nanobox::cli {

/// One server-sent event.
struct ServerEvent {
  std::string type = "message";
  std::string data;
  std::string id;
};

/// Takes the bytes of a text/event-stream as they come, gives the events that are complete (WHATWG HTML, 9.2.6).
class EventStream {
public:
  std::vector<ServerEvent> take(std::string_view bytes);

private:
  void line(std::string_view text, std::vector<ServerEvent>& out);
  std::string partial_;
  bool after_return_ = false;
  ServerEvent event_;
  bool has_data_ = false;
};

}  // namespace nanobox::cli
