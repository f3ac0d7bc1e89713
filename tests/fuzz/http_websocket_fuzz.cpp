// WebSocket frames: the same bytes give the same messages however they are cut, within the limit, and nothing else
// happens.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "config/utf8.hpp"
#include "http/websocket/frames.hpp"

namespace {

using nanobox::http::MessageKind;
using nanobox::http::websocket::FrameReader;

constexpr std::size_t message_limit = 300;

// Everything that was found, as text; the pieces have `step` bytes.
std::string read(std::string_view bytes, std::size_t step) {
  FrameReader reader(message_limit);
  std::string seen;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    reader.append(bytes.substr(at, step));
    for (bool more = true; more;) {
      const auto event = reader.next();
      seen += static_cast<char>('a' + static_cast<int>(event));
      switch (event) {
        case FrameReader::Event::need_more:
          seen.pop_back();
          more = false;
          break;
        case FrameReader::Event::message: {
          const auto payload = reader.take_payload();
          if (payload.size() > message_limit) std::abort();
          if (reader.kind() == MessageKind::text && !nanobox::is_utf8(payload)) std::abort();
          seen += payload;
          break;
        }
        case FrameReader::Event::ping:
        case FrameReader::Event::pong: {
          const auto payload = reader.take_payload();
          if (payload.size() > nanobox::http::websocket::control_limit) std::abort();
          seen += payload;
          break;
        }
        case FrameReader::Event::close:
        case FrameReader::Event::broken:
          seen += std::to_string(reader.close_code()) + reader.close_reason();
          (void)nanobox::http::websocket::write_close_frame(reader.close_code(), reader.close_reason());
          break;
      }
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 20'000) return 0;
  const std::size_t step = 1 + data[0] % 16;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (read(bytes, bytes.size() + 1) != read(bytes, step)) std::abort();
  return 0;
}
