#include "http/transport/response_head.hpp"

#include <charconv>
#include <ctime>

#include "http/problem.hpp"

namespace nanobox::http::transport {
namespace {

void append_clean(std::string& out, std::string_view text) {
  for (const char c : text)
    if (c != '\r' && c != '\n' && c != '\0') out += c;
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  append_clean(out, name);
  out += ": ";
  append_clean(out, value);
  out += "\r\n";
}

// RFC 9110, section 5.6.7; made once a second and thread.
std::string_view http_date() {
  thread_local std::time_t made_at = 0;
  thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != made_at) {
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    char buffer[64];
    text.assign(buffer, std::strftime(buffer, sizeof buffer, "%a, %d %b %Y %H:%M:%S GMT", &parts));
    made_at = now;
  }
  return text;
}

}  // namespace

std::string write_head(const ResponseHead& head, const Headers& headers) {
  std::string out;
  out.reserve(256);
  out += "HTTP/1.1 " + std::to_string(head.status) + ' ';
  out += reason_phrase(head.status);
  out += "\r\n";
  append_header(out, "Date", http_date());
  if (!head.request_id.empty()) append_header(out, "X-Request-Id", head.request_id);
  if (!head.content_type.empty()) append_header(out, "Content-Type", head.content_type);
  if (head.content_length) append_header(out, "Content-Length", std::to_string(*head.content_length));
  if (head.chunked) append_header(out, "Transfer-Encoding", "chunked");
  if (head.close)
    append_header(out, "Connection", "close");
  else if (head.says_keep_alive)
    append_header(out, "Connection", "keep-alive");
  for (const auto& [name, value] : headers) append_header(out, name, value);
  out += "\r\n";
  return out;
}

std::string write_chunk(std::string_view bytes) {
  char size[20];
  const auto end = std::to_chars(size, size + sizeof size, bytes.size(), 16).ptr;
  std::string out;
  out.reserve(bytes.size() + 24);
  out.append(size, end);
  out += "\r\n";
  out += bytes;
  out += "\r\n";
  return out;
}

}  // namespace nanobox::http::transport
