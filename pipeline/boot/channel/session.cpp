#include "pipeline/boot/channel/session.hpp"

#include <algorithm>
#include <cstring>

#include "guest/protocol.h"

namespace nanobox {

namespace {

constexpr std::size_t kTextMax = 4096;

/// Writes tag-length-value lists.
class TlvWriter {
 public:
  void put(std::uint16_t tag, std::span<const std::byte> value) {
    std::uint8_t head[6];
    nanobox_put16(head, tag);
    nanobox_put32(head + 2, static_cast<std::uint32_t>(value.size()));
    const auto* bytes = reinterpret_cast<const std::byte*>(head);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof head);
    bytes_.insert(bytes_.end(), value.begin(), value.end());
  }
  void put(std::uint16_t tag, std::string_view text) { put(tag, std::as_bytes(std::span(text))); }
  void put32(std::uint16_t tag, std::uint32_t value) {
    std::uint8_t bytes[4];
    nanobox_put32(bytes, value);
    put(tag, std::as_bytes(std::span(bytes)));
  }
  void put64(std::uint16_t tag, std::uint64_t value) {
    std::uint8_t bytes[8];
    nanobox_put64(bytes, value);
    put(tag, std::as_bytes(std::span(bytes)));
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

struct Tlv {
  std::uint16_t tag = 0;
  std::span<const std::byte> value;
  std::uint32_t number() const {
    return value.size() == 4 ? nanobox_get32(reinterpret_cast<const std::uint8_t*>(value.data())) : 0;
  }
  std::string text() const {
    return {reinterpret_cast<const char*>(value.data()), std::min(value.size(), kTextMax)};
  }
};

Error broken(std::string reason) {
  return {.code = ErrorCode::guest_protocol, .attempted = "talk to the guest", .subject = "", .reason = std::move(reason),
          .mend = "the sandbox is lost: make another"};
}

/// A request to the guest is one frame.
Result<void> check_size(std::size_t size, std::string attempted, std::string mend) {
  if (size <= NANOBOX_FRAME_PAYLOAD_MAX) return {};
  return fail({.code = ErrorCode::command_invalid, .attempted = std::move(attempted), .subject = "",
               .reason = "it takes " + std::to_string(size) + " bytes, and " + std::to_string(NANOBOX_FRAME_PAYLOAD_MAX) +
                         " are the most",
               .mend = std::move(mend)});
}

Result<std::vector<Tlv>> read_tlvs(std::span<const std::byte> payload) {
  std::vector<Tlv> entries;
  while (!payload.empty()) {
    if (payload.size() < 6) return fail(broken("it sent a cut-off list"));
    const auto* head = reinterpret_cast<const std::uint8_t*>(payload.data());
    const std::size_t length = nanobox_get32(head + 2);
    if (length > payload.size() - 6) return fail(broken("it sent a list with an entry longer than the frame"));
    entries.push_back({nanobox_get16(head), payload.subspan(6, length)});
    payload = payload.subspan(6 + length);
  }
  return entries;
}

}  // namespace

ChannelSession::ChannelSession(std::array<std::byte, 16> nonce, bool resync) : nonce_(nonce) {
  if (resync) output_.resize(NANOBOX_RESYNC_ZEROS);
  repeat_hello();
}

void ChannelSession::repeat_hello() {
  if (up_) return;
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_VERSION, NANOBOX_PROTOCOL_VERSION);
  payload.put(NANOBOX_TAG_NONCE, nonce_);
  send(NANOBOX_HELLO, 0, 0, 0, payload.bytes());
}

void ChannelSession::send(std::uint8_t type, std::uint8_t flags, std::uint16_t part, std::uint32_t stream,
                          std::span<const std::byte> payload) {
  std::uint8_t header[NANOBOX_FRAME_HEADER];
  nanobox_put_header(header, type, flags, part, stream, payload.data(), static_cast<std::uint32_t>(payload.size()));
  const auto* bytes = reinterpret_cast<const std::byte*>(header);
  output_.insert(output_.end(), bytes, bytes + sizeof header);
  output_.insert(output_.end(), payload.begin(), payload.end());
}

std::vector<std::byte> ChannelSession::take_output() { return std::exchange(output_, {}); }

Result<std::vector<ChannelEvent>> ChannelSession::feed(std::span<const std::byte> bytes) {
  if (broken_) return fail(broken("its session is over"));
  input_.insert(input_.end(), bytes.begin(), bytes.end());
  std::vector<ChannelEvent> events;
  std::size_t at = 0;
  while (at < input_.size()) {
    const auto* frame = reinterpret_cast<const std::uint8_t*>(input_.data() + at);
    const std::size_t left = input_.size() - at;
    if (frame[0] == 0) {
      ++at;
      continue;
    }
    if (left < NANOBOX_FRAME_HEADER) break;
    const std::uint32_t length = nanobox_get32(frame + 8);
    const bool possible = length <= NANOBOX_FRAME_PAYLOAD_MAX;
    // Before the acknowledgement anything may come, the rest of a former session too: searched for our nonce.
    if (!up_ && (!possible || frame[0] != NANOBOX_HELLO_ACK)) {
      ++at;
      continue;
    }
    if (!possible) {
      broken_ = true;
      return fail(broken("it sent a frame of " + std::to_string(length) + " bytes"));
    }
    if (left < NANOBOX_FRAME_HEADER + length) break;
    if (nanobox_frame_is_intact(frame, length) == 0) {
      if (!up_) {
        ++at;
        continue;
      }
      broken_ = true;
      return fail(broken("it sent a frame with a wrong checksum"));
    }
    auto event = take_frame(frame[0], frame[1], nanobox_get16(frame + 2), nanobox_get32(frame + 4),
                            std::span(input_).subspan(at + NANOBOX_FRAME_HEADER, length));
    if (!event) {
      broken_ = true;
      return fail(std::move(event).error());
    }
    if (*event) events.push_back(std::move(**event));
    at += NANOBOX_FRAME_HEADER + length;
  }
  input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(at));
  return events;
}

Result<void> ChannelSession::take_acknowledgement(std::span<const std::byte> payload, ChannelEvent& event, bool& ours) {
  SessionUp up;
  ours = false;
  for (const auto& entry : NANOBOX_TRY(read_tlvs(payload))) {
    if (entry.tag == NANOBOX_TAG_VERSION) up.version = entry.number();
    if (entry.tag == NANOBOX_TAG_BOOT_ID) up.boot_id = entry.text();
    if (entry.tag == NANOBOX_TAG_NONCE) ours = std::ranges::equal(entry.value, nonce_);
  }
  event = std::move(up);
  return {};
}

Result<std::optional<ChannelEvent>> ChannelSession::take_frame(std::uint8_t type, std::uint8_t flags, std::uint16_t part,
                                                               std::uint32_t number,
                                                               std::span<const std::byte> payload) {
  if (type == NANOBOX_HELLO_ACK) {
    ChannelEvent event;
    bool ours = false;
    NANOBOX_TRY(take_acknowledgement(payload, event, ours));
    if (!ours || up_) return std::nullopt;
    up_ = true;
    return event;
  }
  if (type == NANOBOX_CONFIGURE) return Configured{};
  if (type == NANOBOX_QUIESCE) return Quiesced{};
  if (type == NANOBOX_THAW) return Thawed{};
  if (type == NANOBOX_PONG) return Pong{};
  if (type < NANOBOX_OPEN) return std::nullopt;

  const auto found = streams_.find(number);
  if (type == NANOBOX_ERROR && number == 0) {
    StreamError error;
    for (const auto& entry : NANOBOX_TRY(read_tlvs(payload))) {
      if (entry.tag == NANOBOX_TAG_REASON) error.reason = entry.number();
      if (entry.tag == NANOBOX_TAG_TEXT) error.text = entry.text();
    }
    return error;
  }
  if (found == streams_.end()) {
    if (number == 0 || number > last_stream_) return fail(broken("it answered for a stream that was never opened"));
    return std::nullopt;  // a stream that ended meanwhile
  }
  auto& stream = found->second;
  switch (type) {
    case NANOBOX_DATA: {
      if (payload.size() > stream.out_granted) return fail(broken("it sent more than it was granted"));
      stream.out_granted -= payload.size();
      if (part != NANOBOX_PART_STDOUT && part != NANOBOX_PART_STDERR) return fail(broken("it sent an unknown part"));
      if (stream.closed) return std::nullopt;
      return StreamData{.stream = number,
                        .part = static_cast<StreamPart>(part),
                        .bytes = {payload.begin(), payload.end()},
                        .last = (flags & NANOBOX_FLAG_LAST) != 0};
    }
    case NANOBOX_OPENED: {
      Opened opened{.stream = number};
      for (const auto& entry : NANOBOX_TRY(read_tlvs(payload)))
        if (entry.tag == NANOBOX_TAG_PID) opened.pid = entry.number();
      return opened;
    }
    case NANOBOX_WINDOW: {
      for (const auto& entry : NANOBOX_TRY(read_tlvs(payload)))
        if (entry.tag == NANOBOX_TAG_CREDIT) stream.in_credit += entry.number();
      if (stream.in_credit > NANOBOX_INITIAL_CREDIT) return fail(broken("it granted more than it may"));
      pump_stdin(number, stream);
      return std::nullopt;
    }
    case NANOBOX_EXIT: {
      StreamExit ended{.stream = number};
      for (const auto& entry : NANOBOX_TRY(read_tlvs(payload))) {
        if (entry.tag == NANOBOX_TAG_CODE) ended.exit_code = entry.number();
        if (entry.tag == NANOBOX_TAG_SIGNAL) ended.signal = entry.number();
        if (entry.tag == NANOBOX_TAG_TIMED_OUT) ended.timed_out = true;
      }
      const bool closed = stream.closed;
      streams_.erase(found);
      if (closed) return std::nullopt;
      return ended;
    }
    case NANOBOX_ERROR: {
      StreamError error;
      error.stream = number;
      for (const auto& entry : NANOBOX_TRY(read_tlvs(payload))) {
        if (entry.tag == NANOBOX_TAG_REASON) error.reason = entry.number();
        if (entry.tag == NANOBOX_TAG_TEXT) error.text = entry.text();
      }
      const bool closed = stream.closed;
      streams_.erase(found);
      if (closed) return std::nullopt;
      return error;
    }
    default: return std::nullopt;
  }
}

Result<void> ChannelSession::configure(const ConfigureMessage& message) {
  TlvWriter payload;
  payload.put(NANOBOX_TAG_ID, message.sandbox_id);
  payload.put64(NANOBOX_TAG_CLOCK_NS, message.clock_ns);
  payload.put(NANOBOX_TAG_ENTROPY, message.entropy);
  payload.put64(NANOBOX_TAG_GENERATION, message.generation);
  payload.put(NANOBOX_TAG_HOSTNAME, message.hostname);
  if (!message.resolver.empty()) payload.put(NANOBOX_TAG_RESOLVER, message.resolver);
  for (const auto& entry : message.env) payload.put(NANOBOX_TAG_ENV, entry);
  payload.put(NANOBOX_TAG_CWD, message.cwd);
  payload.put(NANOBOX_TAG_USER, message.user);
  NANOBOX_TRY(check_size(payload.bytes().size(), "configure the guest", "shorten the sandbox's env"));
  send(NANOBOX_CONFIGURE, 0, 0, 0, payload.bytes());
  return {};
}

void ChannelSession::quiesce() { send(NANOBOX_QUIESCE, 0, 0, 0, {}); }
void ChannelSession::thaw() { send(NANOBOX_THAW, 0, 0, 0, {}); }
void ChannelSession::shutdown() { send(NANOBOX_SHUTDOWN, 0, 0, 0, {}); }

void ChannelSession::ping(std::uint64_t clock_ns) {
  TlvWriter payload;
  payload.put64(NANOBOX_TAG_CLOCK_NS, clock_ns);
  send(NANOBOX_PING, 0, 0, 0, payload.bytes());
}

Result<std::uint32_t> ChannelSession::open_exec(const ExecRequest& request) {
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_KIND, NANOBOX_KIND_EXEC);
  for (const auto& argument : request.argv) payload.put(NANOBOX_TAG_ARG, argument);
  for (const auto& entry : request.env) payload.put(NANOBOX_TAG_ENV, entry);
  if (!request.cwd.empty()) payload.put(NANOBOX_TAG_CWD, request.cwd);
  if (!request.user.empty()) payload.put(NANOBOX_TAG_USER, request.user);
  if (request.deadline_ms != 0) payload.put64(NANOBOX_TAG_DEADLINE_MS, request.deadline_ms);
  NANOBOX_TRY(check_size(payload.bytes().size(), "run a command", "shorten its arguments and environment"));
  const auto number = ++last_stream_;
  auto& stream = streams_[number];
  stream.out_granted = NANOBOX_INITIAL_CREDIT;
  stream.in_credit = NANOBOX_INITIAL_CREDIT;
  send(NANOBOX_OPEN, 0, 0, number, payload.bytes());
  return number;
}

void ChannelSession::write_stdin(std::uint32_t number, std::string_view bytes, bool last) {
  const auto found = streams_.find(number);
  if (found == streams_.end() || found->second.stdin_last) return;
  found->second.stdin_waiting += bytes;
  found->second.stdin_last = last;
  pump_stdin(number, found->second);
}

void ChannelSession::pump_stdin(std::uint32_t number, Stream& stream) {
  std::size_t sent = 0;
  while (!stream.stdin_ended) {
    const auto piece = std::min<std::size_t>(
        {stream.stdin_waiting.size() - sent, stream.in_credit, static_cast<std::size_t>(NANOBOX_FRAME_PAYLOAD_MAX)});
    const bool last = stream.stdin_last && sent + piece == stream.stdin_waiting.size();
    if (piece == 0 && !last) break;
    send(NANOBOX_DATA, last ? NANOBOX_FLAG_LAST : 0, NANOBOX_PART_STDIN, number,
         std::as_bytes(std::span(stream.stdin_waiting)).subspan(sent, piece));
    stream.in_credit -= piece;
    sent += piece;
    stream.stdin_ended = last;
  }
  stream.stdin_waiting.erase(0, sent);
}

void ChannelSession::grant(std::uint32_t number, std::uint32_t bytes) {
  const auto found = streams_.find(number);
  if (found == streams_.end() || bytes == 0) return;
  found->second.out_granted += bytes;
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_CREDIT, bytes);
  send(NANOBOX_WINDOW, 0, NANOBOX_PART_STDOUT, number, payload.bytes());
}

void ChannelSession::signal(std::uint32_t number, std::uint32_t signal_number) {
  if (!streams_.contains(number)) return;
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_SIGNAL, signal_number);
  send(NANOBOX_SIGNAL, 0, 0, number, payload.bytes());
}

void ChannelSession::close(std::uint32_t number) {
  const auto found = streams_.find(number);
  if (found == streams_.end() || found->second.closed) return;
  found->second.closed = true;
  send(NANOBOX_CLOSE, 0, 0, number, {});
}

}  // namespace nanobox
