#pragma once

#include <string>
#include <string_view>

#include "http/json/writer.hpp"
#include "http/resources/guest_answer.hpp"
#include "pipeline/boot/exec.hpp"

namespace nanobox::http {

/// "stdout" or "stderr".
std::string_view to_string(StreamPart part);
/// Bytes of an output as an event: `{"data","encoding"}`, as text where they are UTF-8, else as base64.
std::string output_event(std::string_view name, std::string_view bytes, std::string_view id = {});
/// The last event of a command.
std::string exit_event(const CommandEnd& end, std::int64_t duration_ms);
/// The last event where there is no end to tell.
std::string error_event(const Error& error);
/// `exit_code`, `signal` and `timed_out` of an object that is being written.
void write_end(json::Writer& json, const CommandEnd& end);

/// Server-sent events of a guest's stream: the head goes out with the first of them, a comment now and then keeps it
/// alive, and a later failure is the last event.
class EventAnswer : public StreamedAnswer {
public:
  using StreamedAnswer::StreamedAnswer;
  void on_failed(const Error& error) override;
  void on_tick() override;

protected:
  /// @param credit  bytes of the guest's in it
  void emit(std::string_view event, std::size_t credit = 0);
};

}  // namespace nanobox::http
