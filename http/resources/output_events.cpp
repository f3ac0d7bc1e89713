#include "http/resources/output_events.hpp"

#include "config/utf8.hpp"
#include "http/json/text.hpp"
#include "http/json/writer.hpp"
#include "http/problem.hpp"
#include "http/sse.hpp"

namespace nanobox::http {

namespace {
constexpr std::chrono::seconds kKeepAlive{15};
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

EventAnswer::EventAnswer(Responder responder) : responder_(std::move(responder)) {}

void EventAnswer::on_failed(const Error& error) {
  if (!answer_) {
    responder_->send_problem(error);
    return quit();
  }
  emit(error_event(error));
  end();
}

void EventAnswer::on_tick() {
  if (answer_ && answer_->has_room()) emit(server_sent_comment());
  tick_after(kKeepAlive);
}

void EventAnswer::emit(std::string_view event, std::size_t credit) {
  if (!answer_) {
    auto stream = responder_->begin_stream(event_stream_type);
    responder_.reset();
    stream.on_disconnect([this, post = post()] { post([this] { quit(); }); });
    answer_.emplace(std::move(stream), post(), [this](std::size_t bytes) { grant(bytes); });
    tick_after(kKeepAlive);
  }
  answer_->write(event, credit);
}

void EventAnswer::end() {
  answer_->end();
  quit();
}

}  // namespace nanobox::http
