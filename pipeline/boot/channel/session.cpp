#include "pipeline/boot/channel/session.hpp"

#include <algorithm>
#include <cstring>

#include "guest/protocol.h"

namespace nanobox {

namespace {

/// A WINDOW costs the guest an interrupt and a read: it gets one for each quarter, of which it has three left.
constexpr std::uint64_t kWindowParts = 4;

Result<StreamError> read_error(const Frame& frame) {
  StreamError error{.stream = frame.stream, .reason = 0, .text = "", .error_number = 0};
  for (const auto& entry : NANOBOX_TRY(read_tlvs(frame.payload))) {
    if (entry.tag == NANOBOX_TAG_REASON) error.reason = entry.number();
    if (entry.tag == NANOBOX_TAG_TEXT) error.text = entry.text();
    if (entry.tag == NANOBOX_TAG_ERRNO) error.error_number = entry.number();
  }
  return error;
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
  append_frame(output_, {.type = type, .flags = flags, .part = part, .stream = stream, .payload = payload});
}

std::vector<std::byte> ChannelSession::take_output() {
  return std::exchange(output_, {});
}

Result<std::vector<ChannelEvent>> ChannelSession::feed(std::span<const std::byte> bytes) {
  if (broken_) return fail(channel_broken("its session is over"));
  decoder_.feed(bytes);
  std::vector<ChannelEvent> events;
  while (true) {
    auto frame = decoder_.next();
    if (frame && !*frame) break;
    auto event = frame ? take_frame(**frame) : fail(std::move(frame).error());
    if (!event) {
      broken_ = true;
      return fail(std::move(event).error());
    }
    if (*event) events.push_back(std::move(**event));
  }
  // However many windows came, a stream's writer is told once.
  for (const auto number : std::exchange(moved_windows_, {})) {
    const auto found = streams_.find(number);
    if (found == streams_.end()) continue;
    found->second.window_moved = false;
    events.push_back(StdinWindow{.stream = number, .queued = stdin_queued(number)});
  }
  return events;
}

ChannelSession::Taken ChannelSession::take_frame(const Frame& frame) {
  if (frame.type == NANOBOX_HELLO_ACK) return take_acknowledgement(frame);
  if (frame.stream == 0) return take_control(frame);
  const auto found = streams_.find(frame.stream);
  if (found != streams_.end()) return take_stream(frame, found);
  if (frame.stream > last_stream_) return fail(channel_broken("it answered for a stream that was never opened"));
  return std::nullopt;  // a stream that ended or was closed meanwhile
}

ChannelSession::Taken ChannelSession::take_acknowledgement(const Frame& frame) {
  SessionUp up;
  bool ours = false;
  auto entries = read_tlvs(frame.payload);
  if (!entries && !up_) return std::nullopt;  // found by chance in what another session left
  for (const auto& entry : NANOBOX_TRY(std::move(entries))) {
    if (entry.tag == NANOBOX_TAG_VERSION) up.version = entry.number();
    if (entry.tag == NANOBOX_TAG_BOOT_ID) up.boot_id = entry.text();
    if (entry.tag == NANOBOX_TAG_FEATURES) up.features = entry.long_number();
    if (entry.tag == NANOBOX_TAG_NONCE) ours = std::ranges::equal(entry.value, nonce_);
  }
  if (!ours || up_) return std::nullopt;
  if (up.version != NANOBOX_PROTOCOL_VERSION)
    return fail(channel_broken("it speaks version " + std::to_string(up.version) + " of the protocol"));
  up_ = true;
  decoder_.follow();
  return up;
}

ChannelSession::Taken ChannelSession::take_control(const Frame& frame) {
  switch (frame.type) {
    case NANOBOX_CONFIGURE:
      return Configured{};
    case NANOBOX_QUIESCE:
      return Quiesced{};
    case NANOBOX_THAW:
      return Thawed{};
    case NANOBOX_PONG: {
      Pong pong;
      for (const auto& entry : NANOBOX_TRY(read_tlvs(frame.payload)))
        if (entry.tag == NANOBOX_TAG_CLOCK_NS) pong.clock_ns = entry.long_number();
      return pong;
    }
    case NANOBOX_STATS: {
      GuestStats stats;
      for (const auto& entry : NANOBOX_TRY(read_tlvs(frame.payload))) {
        if (entry.tag == NANOBOX_TAG_UPTIME_MS) stats.uptime_ms = entry.long_number();
        if (entry.tag == NANOBOX_TAG_MEMORY_KB) stats.memory_kb = entry.long_number();
        if (entry.tag == NANOBOX_TAG_AVAILABLE_KB) stats.available_kb = entry.long_number();
        if (entry.tag == NANOBOX_TAG_COMMANDS) stats.commands = entry.number();
      }
      return stats;
    }
    case NANOBOX_ERROR:
      return NANOBOX_TRY(read_error(frame));
    case NANOBOX_OPENED:
    case NANOBOX_DATA:
    case NANOBOX_WINDOW:
    case NANOBOX_GAP:
    case NANOBOX_EXIT:
      return fail(channel_broken("it sent a stream's frame on the control stream"));
    default:
      return std::nullopt;
  }
}

ChannelSession::Taken ChannelSession::take_data(const Frame& frame, Stream& stream) {
  if (frame.part != NANOBOX_PART_STDOUT && frame.part != NANOBOX_PART_STDERR)
    return fail(channel_broken("it sent an unknown part"));
  bool& ended = frame.part == NANOBOX_PART_STDOUT ? stream.stdout_ended : stream.stderr_ended;
  if (ended) return fail(channel_broken("it sent output after its end"));
  ended = (frame.flags & NANOBOX_FLAG_LAST) != 0;
  const std::uint64_t size = frame.payload.size();
  if (size == 0 && !ended) return fail(channel_broken("it sent output without a byte in it"));
  const std::uint64_t overhead = size > 0 ? NANOBOX_DATA_COST : 0;
  if (size + overhead > stream.out_granted) return fail(channel_broken("it sent more than it was granted"));
  stream.out_granted -= size + overhead;
  stream.undigested += size;
  stream.undigested_overhead += overhead;
  stream.skipped = false;
  return StreamData{.stream = frame.stream,
                    .part = static_cast<StreamPart>(frame.part),
                    .bytes = {frame.payload.begin(), frame.payload.end()},
                    .last = ended};
}

ChannelSession::Taken ChannelSession::take_window(const Frame& frame, Stream& stream) {
  for (const auto& entry : NANOBOX_TRY(read_tlvs(frame.payload)))
    if (entry.tag == NANOBOX_TAG_CREDIT) stream.in_credit += entry.number();
  if (stream.in_credit > NANOBOX_INITIAL_CREDIT) return fail(channel_broken("it granted more than it may"));
  pump_stdin(frame.stream, stream);
  if (!std::exchange(stream.window_moved, true)) moved_windows_.push_back(frame.stream);
  return std::nullopt;
}

ChannelSession::Taken ChannelSession::take_opened(const Frame& frame, Streams::iterator found) {
  if (std::exchange(found->second.opened, true)) return fail(channel_broken("it opened a stream twice"));
  Opened opened{.stream = frame.stream};
  FileInfo file;
  for (const auto& entry : NANOBOX_TRY(read_tlvs(frame.payload))) {
    if (take_file_tag(entry, file)) opened.file = file;
    if (entry.tag == NANOBOX_TAG_PID) opened.pid = entry.number();
    if (entry.tag == NANOBOX_TAG_OFFSET) opened.offset = entry.long_number();
  }
  opened.last = found->second.ends_opened;
  if (opened.last) streams_.erase(found);
  return opened;
}

ChannelSession::Taken ChannelSession::take_stream(const Frame& frame, Streams::iterator found) {
  auto& stream = found->second;
  switch (frame.type) {
    case NANOBOX_DATA:
      return take_data(frame, stream);
    case NANOBOX_WINDOW:
      return take_window(frame, stream);
    case NANOBOX_OPENED:
      return take_opened(frame, found);
    case NANOBOX_GAP: {
      OutputGap gap{.stream = frame.stream, .offset = 0};
      for (const auto& entry : NANOBOX_TRY(read_tlvs(frame.payload)))
        if (entry.tag == NANOBOX_TAG_OFFSET) gap.offset = entry.long_number();
      if (std::exchange(stream.skipped, true)) return fail(channel_broken("it sent one gap behind another"));
      return gap;
    }
    case NANOBOX_EXIT: {
      StreamExit ended{.stream = frame.stream};
      for (const auto& entry : NANOBOX_TRY(read_tlvs(frame.payload))) {
        if (entry.tag == NANOBOX_TAG_CODE) ended.exit_code = entry.number() & 0xFF;
        if (entry.tag == NANOBOX_TAG_SIGNAL) ended.signal = entry.number() & 0x7F;
        if (entry.tag == NANOBOX_TAG_TIMED_OUT) ended.timed_out = true;
      }
      streams_.erase(found);
      return ended;
    }
    case NANOBOX_ERROR: {
      auto error = NANOBOX_TRY(read_error(frame));
      streams_.erase(found);
      return error;
    }
    default:
      return std::nullopt;
  }
}

Result<void> ChannelSession::configure(const ConfigureMessage& message) {
  send(NANOBOX_CONFIGURE, 0, 0, 0, NANOBOX_TRY(encode(message)));
  return {};
}

void ChannelSession::quiesce(bool sync) {
  TlvWriter payload;
  if (sync) payload.put(NANOBOX_TAG_SYNC, std::string_view{});
  send(NANOBOX_QUIESCE, 0, 0, 0, payload.bytes());
}
void ChannelSession::thaw() {
  send(NANOBOX_THAW, 0, 0, 0, {});
}
void ChannelSession::shutdown() {
  send(NANOBOX_SHUTDOWN, 0, 0, 0, {});
}

void ChannelSession::ping(std::uint64_t clock_ns) {
  TlvWriter payload;
  payload.put64(NANOBOX_TAG_CLOCK_NS, clock_ns);
  send(NANOBOX_PING, 0, 0, 0, payload.bytes());
}

void ChannelSession::ask_stats() {
  send(NANOBOX_STATS, 0, 0, 0, {});
}

Result<std::uint32_t> ChannelSession::open_exec(const ExecRequest& request) {
  const auto number = NANOBOX_TRY(open(request.detached ? 0 : NANOBOX_INITIAL_CREDIT, encode(request)));
  streams_[number].ends_opened = request.detached;
  return number;
}

Result<std::uint32_t> ChannelSession::open_attach(const AttachRequest& request) {
  return open(0, encode(request));
}
std::uint32_t ChannelSession::open_attach(std::uint32_t pid) {
  return *open(0, encode(AttachRequest{.pid = pid}));
}
Result<std::uint32_t> ChannelSession::open_input(const InputRequest& request) {
  return open(NANOBOX_INITIAL_CREDIT, encode(request));
}
std::uint32_t ChannelSession::open_processes() {
  return *open(0, encode_process(NANOBOX_KIND_PROCESSES));
}
Result<std::uint32_t> ChannelSession::open_signal(const std::string& process_id, std::uint32_t number) {
  return open(0, encode_process(NANOBOX_KIND_SIGNAL, process_id, number));
}
Result<std::uint32_t> ChannelSession::open_forget(const std::string& process_id) {
  return open(0, encode_process(NANOBOX_KIND_FORGET, process_id));
}

Result<std::uint32_t> ChannelSession::open_file_read(const FileReadRequest& request) {
  return widened(open(0, encode(request)));
}
Result<std::uint32_t> ChannelSession::open_file_write(const FileWriteRequest& request) {
  return open(NANOBOX_INITIAL_CREDIT, encode(request));
}
Result<std::uint32_t> ChannelSession::open_file_stat(const FileRequest& request) {
  return open(0, encode(NANOBOX_KIND_FILE_STAT, request));
}
Result<std::uint32_t> ChannelSession::open_file_list(const FileRequest& request) {
  return open(0, encode(NANOBOX_KIND_FILE_LIST, request));
}
Result<std::uint32_t> ChannelSession::open_file_remove(const FileRemoveRequest& request) {
  return open(0, encode(request));
}
Result<std::uint32_t> ChannelSession::open_file_rename(const FileRenameRequest& request) {
  return open(0, encode(request));
}
Result<std::uint32_t> ChannelSession::open_folder_make(const FolderMakeRequest& request) {
  return open(0, encode(request));
}
Result<std::uint32_t> ChannelSession::open_archive_read(const FileRequest& request) {
  return widened(open(0, encode(NANOBOX_KIND_ARCHIVE_READ, request)));
}
Result<std::uint32_t> ChannelSession::open_archive_write(const FileRequest& request) {
  return open(NANOBOX_INITIAL_CREDIT, encode(NANOBOX_KIND_ARCHIVE_WRITE, request));
}

std::uint32_t ChannelSession::open_tcp(std::uint16_t port) {
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_KIND, NANOBOX_KIND_TCP);
  payload.put32(NANOBOX_TAG_PORT, port);
  return open(NANOBOX_INITIAL_CREDIT, std::span(payload.bytes()));
}
std::uint32_t ChannelSession::open_log(const LogRequest& request) {
  return *open(0, encode(request));
}

Result<std::uint32_t> ChannelSession::open(std::uint32_t stdin_credit, Result<std::vector<std::byte>> payload) {
  const auto bytes = NANOBOX_TRY(std::move(payload));
  return open(stdin_credit, std::span(bytes));
}

std::uint32_t ChannelSession::open(std::uint32_t stdin_credit, std::span<const std::byte> payload) {
  const auto number = ++last_stream_;
  auto& stream = streams_[number];
  stream.out_granted = stream.out_window = NANOBOX_INITIAL_CREDIT;
  stream.in_credit = stdin_credit;
  send(NANOBOX_OPEN, 0, 0, number, payload);
  return number;
}

Result<void> ChannelSession::write_stdin(std::uint32_t number, std::string_view bytes, bool last) {
  const auto found = streams_.find(number);
  if (found == streams_.end() || found->second.stdin_last) return {};
  auto& stream = found->second;
  if (bytes.size() > stdin_queue_max - (stream.stdin_waiting.size() - stream.stdin_sent))
    return fail({.code = ErrorCode::body_too_large,
                 .attempted = "write to the guest",
                 .subject = "",
                 .reason = "more than " + std::to_string(stdin_queue_max) + " bytes would wait for it to read",
                 .mend = "write less at once"});
  stream.stdin_waiting += bytes;
  stream.stdin_last = last;
  pump_stdin(number, stream);
  return {};
}

std::size_t ChannelSession::stdin_queued(std::uint32_t number) const {
  const auto found = streams_.find(number);
  return found == streams_.end() ? 0 : found->second.stdin_waiting.size() - found->second.stdin_sent;
}

void ChannelSession::pump_stdin(std::uint32_t number, Stream& stream) {
  while (!stream.stdin_ended) {
    const auto waiting = stream.stdin_waiting.size() - stream.stdin_sent;
    const auto piece =
        std::min<std::size_t>({waiting, stream.in_credit, static_cast<std::size_t>(NANOBOX_FRAME_PAYLOAD_MAX)});
    const bool last = stream.stdin_last && piece == waiting;
    if (piece == 0 && !last) break;
    send(NANOBOX_DATA, last ? NANOBOX_FLAG_LAST : 0, NANOBOX_PART_STDIN, number,
         std::as_bytes(std::span(stream.stdin_waiting)).subspan(stream.stdin_sent, piece));
    stream.in_credit -= piece;
    stream.stdin_sent += piece;
    stream.stdin_ended = last;
  }
  // Moving what waits costs as much as it is long: only now and then.
  if (stream.stdin_sent < stream.stdin_waiting.size() && stream.stdin_sent < stream.stdin_waiting.size() / 2) return;
  stream.stdin_waiting.erase(0, stream.stdin_sent);
  stream.stdin_sent = 0;
}

void ChannelSession::grant(std::uint32_t number, std::uint32_t bytes) {
  const auto found = streams_.find(number);
  if (found == streams_.end() || bytes == 0) return;
  auto& stream = found->second;
  const auto overhead =
      bytes >= stream.undigested ? stream.undigested_overhead : stream.undigested_overhead * bytes / stream.undigested;
  stream.undigested -= std::min<std::uint64_t>(bytes, stream.undigested);
  stream.undigested_overhead -= overhead;
  stream.untold += bytes + overhead;
  if (stream.untold >= stream.out_window / kWindowParts) send_window(number, stream, std::exchange(stream.untold, 0));
}

void ChannelSession::send_window(std::uint32_t number, Stream& stream, std::uint64_t credit) {
  stream.out_granted += credit;
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_CREDIT, static_cast<std::uint32_t>(credit));
  send(NANOBOX_WINDOW, 0, NANOBOX_PART_STDOUT, number, payload.bytes());
}

Result<std::uint32_t> ChannelSession::widened(Result<std::uint32_t> number) {
  if (!number) return number;
  auto& stream = streams_.at(*number);
  send_window(*number, stream, file_window - stream.out_window);
  stream.out_window = file_window;
  return number;
}

void ChannelSession::signal(std::uint32_t number, std::uint32_t signal_number) {
  if (!streams_.contains(number)) return;
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_SIGNAL, signal_number);
  send(NANOBOX_SIGNAL, 0, 0, number, payload.bytes());
}

void ChannelSession::resize(std::uint32_t number, std::uint16_t columns, std::uint16_t rows) {
  if (!streams_.contains(number)) return;
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_COLUMNS, columns);
  payload.put32(NANOBOX_TAG_ROWS, rows);
  send(NANOBOX_RESIZE, 0, 0, number, payload.bytes());
}

void ChannelSession::close(std::uint32_t number) {
  if (streams_.erase(number) != 0) send(NANOBOX_CLOSE, 0, 0, number, {});
}

}  // namespace nanobox
