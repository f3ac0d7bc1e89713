#include "http/sse.hpp"

namespace nanobox::http {
namespace {

void append_line(std::string& out, std::string_view field, std::string_view value) {
  out += field;
  for (const char c : value)
    if (c != '\n' && c != '\r' && c != '\0') out += c;
  out += '\n';
}

}  // namespace

std::string server_sent_event(std::string_view event, std::string_view data, std::string_view id) {
  std::string out;
  out.reserve(data.size() + event.size() + id.size() + 32);
  if (!id.empty()) append_line(out, "id: ", id);
  if (!event.empty()) append_line(out, "event: ", event);
  // CR, LF and CRLF each end a line for the reader.
  for (;;) {
    const auto end = data.find_first_of("\r\n");
    append_line(out, "data: ", data.substr(0, end));
    if (end == std::string_view::npos) break;
    const bool pair = data.substr(end).starts_with("\r\n");
    data.remove_prefix(end + (pair ? 2 : 1));
  }
  out += '\n';
  return out;
}

std::string server_sent_comment(std::string_view text) {
  std::string out;
  append_line(out, ":", text);
  out += '\n';
  return out;
}

}  // namespace nanobox::http
