#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "http/websocket.hpp"

namespace nanobox::http::websocket {

/// RFC 6455, section 5.2.
enum class Opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

/// A payload of a close frame beyond its code, and of every control frame, in bytes.
inline constexpr std::size_t close_reason_limit = 123;
inline constexpr std::size_t control_limit = 125;

/// Whether a close frame may carry this code (RFC 6455, section 7.4, and the registry's 1012 to 1014).
bool is_close_code(std::uint16_t code);

/// Cuts a client's bytes into messages and control frames (libwslay does the frames' arithmetic) and enforces the
/// protocol: masked, no reserved bits or opcodes, control frames whole and short, fragments in order, text in UTF-8.
/// Knows no sockets. `append` bytes, ask `next` until it needs more; at most one message is held.
class FrameReader {
public:
  explicit FrameReader(std::size_t max_message_bytes);
  ~FrameReader();
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  enum class Event : std::uint8_t {
    need_more,
    message,  ///< see `kind`, `take_payload`
    ping,     ///< see `take_payload`
    pong,     ///< see `take_payload`
    close,    ///< see `close_code` (1005: none), `close_reason`; nothing comes behind it
    broken,   ///< the client broke the rules: close with `close_code`, `close_reason`; nothing comes behind it
  };
  void append(std::string_view bytes);
  Event next();

  MessageKind kind() const { return kind_; }
  std::string take_payload();
  std::uint16_t close_code() const { return close_code_; }
  const std::string& close_reason() const { return close_reason_; }

private:
  struct Wslay;
  Event breaks(CloseCode code, std::string reason);
  Event begin_frame();
  Event end_frame();
  Event read_close();

  const std::size_t max_message_bytes_;
  std::unique_ptr<Wslay> wslay_;
  std::string input_;
  std::size_t input_used_ = 0;
  bool done_ = false;
  bool in_frame_ = false;
  bool in_message_ = false;
  std::uint64_t frame_left_ = 0;
  MessageKind kind_ = MessageKind::text;
  std::string message_;
  std::string control_;
  std::string payload_;
  std::uint16_t close_code_ = 0;
  std::string close_reason_;
};

/// One whole frame from the server, unmasked. Without a code a close frame is empty; a reason is cut to what fits.
std::string write_frame(Opcode opcode, std::string_view payload);
std::string write_close_frame(std::uint16_t code, std::string_view reason);

}  // namespace nanobox::http::websocket
