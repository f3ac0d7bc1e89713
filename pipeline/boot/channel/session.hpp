#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "config/error.hpp"
#include "pipeline/boot/channel/frame.hpp"
#include "pipeline/boot/channel/tlv.hpp"

namespace nanobox {

/// All that makes one copy of a guest itself (docs/guest-channel.md, CONFIGURE).
struct ConfigureMessage {
  std::string sandbox_id = {};
  std::string hostname = {};
  std::string resolver = {};          ///< an address; empty: none
  std::vector<std::string> env = {};  ///< "K=V": the image's, then the sandbox's
  std::string cwd = {};               ///< the image's; empty: /
  std::string user = {};              ///< the image's; empty: root
  std::uint64_t clock_ns = 0;         ///< wall clock since 1970
  std::array<std::byte, 64> entropy{};
  std::uint64_t generation = 0;
};

struct ExecRequest {
  std::vector<std::string> argv = {};
  std::vector<std::string> env = {};
  std::string cwd = {};           ///< empty: the image's
  std::string user = {};          ///< empty: the image's
  std::uint64_t deadline_ms = 0;  ///< 0: none
};

enum class StreamPart : std::uint16_t { stdin_part = 0, stdout_part = 1, stderr_part = 2 };

struct SessionUp {
  std::uint32_t version = 0;
  std::string boot_id;
  std::uint64_t features = 0;  ///< NANOBOX_FEATURE_…
};
struct Configured {};
struct Quiesced {};
struct Thawed {};
struct Pong {
  std::uint64_t clock_ns = 0;  ///< what the ping held
};
struct GuestStats {
  std::uint64_t uptime_ms = 0;
  std::uint64_t memory_kb = 0;
  std::uint64_t available_kb = 0;
  std::uint32_t commands = 0;
};
struct Opened {
  std::uint32_t stream = 0;
  std::uint32_t pid = 0;
};
struct StreamData {
  std::uint32_t stream = 0;
  StreamPart part = StreamPart::stdout_part;
  std::vector<std::byte> bytes;
  bool last = false;
};
struct StreamExit {
  std::uint32_t stream = 0;
  std::uint32_t exit_code = 0;
  std::uint32_t signal = 0;  ///< 0: none
  bool timed_out = false;
};
/// The guest took stdin: `queued` bytes still wait here, so the writer may go on.
struct StdinWindow {
  std::uint32_t stream = 0;
  std::size_t queued = 0;
};
/// The guest refused or gave up a stream (0: a control request).
struct StreamError {
  std::uint32_t stream = 0;
  std::uint32_t reason = 0;  ///< enum nanobox_reason
  std::string text;
};
using ChannelEvent = std::variant<SessionUp, Configured, Quiesced, Thawed, Pong, GuestStats, Opened, StreamData,
                                  StdinWindow, StreamExit, StreamError>;

/// The host's side of one session of a guest channel: bytes in, events out, and the other way round. Does no I/O and
/// trusts nothing that comes in: memory is bounded by one frame and the credit granted. Not thread-safe.
class ChannelSession {
public:
  /// The most that waits here for the guest's credit, of one stream.
  static constexpr std::size_t stdin_queue_max = std::size_t{16} << 20;

  /// @param nonce   fresh random bytes: an answer to an older session is told apart by them
  /// @param resync  a former session may have ended in the middle of a frame
  ChannelSession(std::array<std::byte, 16> nonce, bool resync);

  /// Asks again for the HELLO_ACK, as long as none came: bytes written while no guest listened may be lost.
  void repeat_hello();
  bool up() const { return up_; }

  /// Takes what the guest sent. @errors guest_protocol: the session is over, whatever comes later
  Result<std::vector<ChannelEvent>> feed(std::span<const std::byte> bytes);
  /// What is to be sent to the guest; the caller sends all of it, in order.
  std::vector<std::byte> take_output();

  /// @errors command_invalid: the environment is larger than a frame
  Result<void> configure(const ConfigureMessage& message);
  void quiesce();
  void thaw();
  void ping(std::uint64_t clock_ns);
  void ask_stats();
  void shutdown();

  /// Opens a command's stream; its number is never used again in this session.
  /// @errors command_invalid: arguments and environment are larger than a frame
  Result<std::uint32_t> open_exec(const ExecRequest& request);
  /// Opens a stream for a command of a former session: its kept output, then the rest, and its end.
  /// @param pid  the command's, from its Opened
  std::uint32_t open_attach(std::uint32_t pid);
  /// Queues bytes for the command's stdin; what exceeds the guest's credit waits here. A stream that ended takes them
  /// and drops them.
  /// @errors body_too_large: more than `stdin_queue_max` would wait; nothing was queued, go on after a StdinWindow
  Result<void> write_stdin(std::uint32_t stream, std::string_view bytes, bool last);
  /// Bytes of the stream's stdin that wait for credit.
  std::size_t stdin_queued(std::uint32_t stream) const;
  /// Lets the guest send `bytes` more of the stream's output.
  void grant(std::uint32_t stream, std::uint32_t bytes);
  void signal(std::uint32_t stream, std::uint32_t number);
  /// A terminal's new size; of no effect on commands without one.
  void resize(std::uint32_t stream, std::uint16_t columns, std::uint16_t rows);
  /// The stream is not wanted any more: its command ends, nothing more of it is reported.
  void close(std::uint32_t stream);

private:
  struct Stream {
    std::uint64_t out_granted = 0;  ///< bytes the guest may still send
    std::uint64_t in_credit = 0;    ///< bytes we may still send
    std::string stdin_waiting;
    bool stdin_last = false;
    bool stdin_ended = false;
    bool opened = false;
    bool stdout_ended = false;
    bool stderr_ended = false;
  };
  using Streams = std::map<std::uint32_t, Stream>;
  using Taken = Result<std::optional<ChannelEvent>>;

  void send(std::uint8_t type, std::uint8_t flags, std::uint16_t part, std::uint32_t stream,
            std::span<const std::byte> payload);
  std::uint32_t open(std::uint32_t stdin_credit, std::span<const std::byte> payload);
  void pump_stdin(std::uint32_t number, Stream& stream);
  Taken take_frame(const Frame& frame);
  Taken take_acknowledgement(const Frame& frame);
  Taken take_control(const Frame& frame);
  Taken take_stream(const Frame& frame, Streams::iterator found);
  static Taken take_data(const Frame& frame, Stream& stream);
  Taken take_window(const Frame& frame, Stream& stream);

  const std::array<std::byte, 16> nonce_;
  bool up_ = false;
  bool broken_ = false;
  FrameDecoder decoder_;
  std::vector<std::byte> output_;
  Streams streams_;
  std::uint32_t last_stream_ = 0;
};

}  // namespace nanobox
