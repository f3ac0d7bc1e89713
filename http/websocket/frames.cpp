#include "http/websocket/frames.hpp"

#include <wslay/wslay.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "config/utf8.hpp"
#include "http/json/text.hpp"

namespace nanobox::http::websocket {

bool is_close_code(std::uint16_t code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

struct FrameReader::Wslay {
  wslay_frame_context_ptr context = nullptr;
  wslay_frame_iocb frame{};

  explicit Wslay(FrameReader& reader) {
    wslay_frame_callbacks callbacks{};
    callbacks.recv_callback = [](std::uint8_t* to, std::size_t room, int, void* user) -> ssize_t {
      auto& self = *static_cast<FrameReader*>(user);
      const auto count = std::min(room, self.input_.size() - self.input_used_);
      if (count == 0) return -1;
      std::memcpy(to, self.input_.data() + self.input_used_, count);
      self.input_used_ += count;
      return static_cast<ssize_t>(count);
    };
    if (wslay_frame_context_init(&context, &callbacks, &reader) != 0) throw std::bad_alloc();
  }
  ~Wslay() { wslay_frame_context_free(context); }
  Wslay(const Wslay&) = delete;
  Wslay& operator=(const Wslay&) = delete;

  bool is_control() const { return wslay_is_ctrl_frame(frame.opcode) != 0; }
};

FrameReader::FrameReader(std::size_t max_message_bytes)
    : max_message_bytes_(max_message_bytes), wslay_(std::make_unique<Wslay>(*this)) {}
FrameReader::~FrameReader() = default;

void FrameReader::append(std::string_view bytes) {
  if (done_) return;
  input_.erase(0, input_used_);
  input_used_ = 0;
  input_.append(bytes);
}

std::string FrameReader::take_payload() {
  return std::move(payload_);
}

FrameReader::Event FrameReader::breaks(CloseCode code, std::string reason) {
  done_ = true;
  close_code_ = static_cast<std::uint16_t>(code);
  close_reason_ = std::move(reason);
  input_.clear();
  input_used_ = 0;
  message_.clear();
  return Event::broken;
}

FrameReader::Event FrameReader::next() {
  while (!done_) {
    const auto count = wslay_frame_recv(wslay_->context, &wslay_->frame);
    if (count == WSLAY_ERR_WANT_READ) {
      if (input_used_ == input_.size()) break;
      continue;
    }
    if (count < 0) return breaks(CloseCode::protocol_error, "a frame's length or a control frame's form is wrong");
    if (!in_frame_)
      if (const auto event = begin_frame(); event != Event::need_more) return event;
    auto& bytes = wslay_->is_control() ? control_ : message_;
    bytes.append(reinterpret_cast<const char*>(wslay_->frame.data), wslay_->frame.data_length);
    frame_left_ -= wslay_->frame.data_length;
    if (frame_left_ > 0) continue;
    if (const auto event = end_frame(); event != Event::need_more) return event;
  }
  return Event::need_more;
}

FrameReader::Event FrameReader::begin_frame() {
  const auto& frame = wslay_->frame;
  if (frame.mask == 0) return breaks(CloseCode::protocol_error, "a client's frame must be masked");
  if (frame.rsv != 0) return breaks(CloseCode::protocol_error, "a reserved bit is set");
  switch (static_cast<Opcode>(frame.opcode)) {
    case Opcode::continuation:
      if (!in_message_) return breaks(CloseCode::protocol_error, "there is nothing to continue");
      break;
    case Opcode::text:
    case Opcode::binary:
      if (in_message_) return breaks(CloseCode::protocol_error, "the message before has not ended");
      in_message_ = true;
      kind_ = static_cast<Opcode>(frame.opcode) == Opcode::text ? MessageKind::text : MessageKind::binary;
      break;
    case Opcode::close:
    case Opcode::ping:
    case Opcode::pong:
      break;
    default:
      return breaks(CloseCode::protocol_error, "the opcode is reserved");
  }
  if (!wslay_->is_control() && frame.payload_length > max_message_bytes_ - message_.size())
    return breaks(CloseCode::message_too_big, "a message may have " + std::to_string(max_message_bytes_) + " bytes");
  in_frame_ = true;
  frame_left_ = frame.payload_length;
  return Event::need_more;
}

FrameReader::Event FrameReader::end_frame() {
  in_frame_ = false;
  const auto& frame = wslay_->frame;
  if (wslay_->is_control()) {
    payload_ = std::exchange(control_, {});
    const auto opcode = static_cast<Opcode>(frame.opcode);
    if (opcode == Opcode::close) return read_close();
    return opcode == Opcode::ping ? Event::ping : Event::pong;
  }
  if (frame.fin == 0) return Event::need_more;
  in_message_ = false;
  payload_ = std::exchange(message_, {});
  if (kind_ == MessageKind::text && !is_utf8(payload_))
    return breaks(CloseCode::invalid_payload, "a text is not UTF-8");
  return Event::message;
}

FrameReader::Event FrameReader::read_close() {
  const std::string_view payload = payload_;
  if (payload.size() == 1) return breaks(CloseCode::protocol_error, "a close code has two bytes");
  close_code_ = static_cast<std::uint16_t>(CloseCode::no_status);
  if (payload.size() >= 2)
    close_code_ = static_cast<std::uint16_t>(static_cast<unsigned char>(payload[0]) << 8 |
                                             static_cast<unsigned char>(payload[1]));
  if (payload.size() >= 2 && !is_close_code(close_code_))
    return breaks(CloseCode::protocol_error, "the close code is not one to be sent");
  close_reason_ = payload.size() > 2 ? payload.substr(2) : std::string_view();
  if (!is_utf8(close_reason_)) return breaks(CloseCode::invalid_payload, "a close reason is not UTF-8");
  done_ = true;
  return Event::close;
}

std::string write_frame(Opcode opcode, std::string_view payload) {
  std::string out;
  out.reserve(payload.size() + 10);
  wslay_frame_callbacks callbacks{};
  callbacks.send_callback = [](const std::uint8_t* data, std::size_t size, int, void* user) -> ssize_t {
    static_cast<std::string*>(user)->append(reinterpret_cast<const char*>(data), size);
    return static_cast<ssize_t>(size);
  };
  wslay_frame_context_ptr context = nullptr;
  if (wslay_frame_context_init(&context, &callbacks, &out) != 0) throw std::bad_alloc();
  const std::unique_ptr<wslay_frame_context, void (*)(wslay_frame_context_ptr)> owner(context,
                                                                                      wslay_frame_context_free);
  wslay_frame_iocb frame{};
  frame.fin = 1;
  frame.opcode = static_cast<std::uint8_t>(opcode);
  frame.payload_length = payload.size();
  frame.data = reinterpret_cast<const std::uint8_t*>(payload.data());
  frame.data_length = payload.size();
  wslay_frame_send(context, &frame);
  return out;
}

std::string write_close_frame(std::uint16_t code, std::string_view reason) {
  if (code == static_cast<std::uint16_t>(CloseCode::no_status)) return write_frame(Opcode::close, {});
  if (!is_close_code(code)) code = static_cast<std::uint16_t>(CloseCode::internal_error);
  auto text = is_utf8(reason) ? std::string(reason) : json::to_utf8(reason);
  if (text.size() > close_reason_limit) {
    auto end = close_reason_limit;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    text.resize(end);
  }
  const char bytes[] = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  return write_frame(Opcode::close, std::string(bytes, sizeof bytes) + text);
}

}  // namespace nanobox::http::websocket
