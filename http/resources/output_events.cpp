#include "http/resources/output_events.hpp"

#include "http/json/text.hpp"
#include "http/json/writer.hpp"
#include "http/problem.hpp"
#include "http/sse.hpp"

namespace nanobox::http {

namespace {
constexpr std::chrono::seconds kKeepAlive{15};
}

std::string_view to_string(StreamPart part) {
  return part == StreamPart::stderr_part ? "stderr" : "stdout";
}

std::string output_event(std::string_view name, std::string_view bytes, std::string_view id) {
  const auto encoded = json::encode_bytes(std::string(bytes));
  json::Writer json;
  json.begin_object().field("data", encoded.text).field("encoding", encoded.encoding).end_object();
  return server_sent_event(name, json.take(), id);
}

void write_end(json::Writer& json, const CommandEnd& end) {
  json.field("exit_code", end.exit_code);
  if (end.signal != 0)
    json.field("signal", end.signal);
  else
    json.null_field("signal");
  json.field("timed_out", end.timed_out);
}

std::string exit_event(const CommandEnd& end, std::int64_t duration_ms) {
  json::Writer json;
  json.begin_object();
  write_end(json, end);
  json.field("duration_ms", duration_ms).end_object();
  return server_sent_event("exit", json.take());
}

std::string error_event(const Error& error) {
  return server_sent_event("error", problem_json(error));
}

void EventAnswer::on_failed(const Error& error) {
  if (!has_begun()) return StreamedAnswer::on_failed(error);
  emit(error_event(error));
  end();
}

void EventAnswer::on_tick() {
  if (has_room()) emit(server_sent_comment());
  tick_after(kKeepAlive);
}

void EventAnswer::emit(std::string_view event, std::size_t credit) {
  if (!has_begun()) {
    begin({.content_type = std::string(event_stream_type)});
    tick_after(kKeepAlive);
  }
  write(event, credit);
}

}  // namespace nanobox::http
