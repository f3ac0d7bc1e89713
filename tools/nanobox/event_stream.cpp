#include "tools/nanobox/event_stream.hpp"

namespace nanobox::cli {

std::vector<ServerEvent> EventStream::take(std::string_view bytes) {
  std::vector<ServerEvent> out;
  for (const char c : bytes) {
    if (c == '\n' && after_return_) {
      after_return_ = false;
      continue;
    }
    after_return_ = c == '\r';
    if (c == '\n' || c == '\r') {
      line(partial_, out);
      partial_.clear();
    } else {
      partial_ += c;
    }
  }
  return out;
}

void EventStream::line(std::string_view text, std::vector<ServerEvent>& out) {
  if (text.empty()) {
    if (has_data_) {
      event_.data.pop_back();  // the last line's break is no part of it
      out.push_back(event_);
    }
    event_ = {};
    has_data_ = false;
    return;
  }
  const auto colon = text.find(':');
  const auto field = text.substr(0, colon);
  auto value = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "event") event_.type = value;
  if (field == "id") event_.id = value;
  if (field == "data") {
    event_.data.append(value).push_back('\n');
    has_data_ = true;
  }
}

}  // namespace nanobox::cli
