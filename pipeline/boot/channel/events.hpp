#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "pipeline/boot/channel/file_info.hpp"

namespace nanobox {

/// Whatever a stream is for, what its guest sends is stdout's part, but for a command's stderr.
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
/// The guest does what was asked for.
struct Opened {
  std::uint32_t stream = 0;
  std::uint32_t pid = 0;              ///< of a command
  std::uint64_t offset = 0;           ///< attach and log: where the output that follows begins
  std::optional<FileInfo> file = {};  ///< stat and read
  bool last = false;                  ///< the stream is over with this: a detached command's
  bool operator==(const Opened&) const = default;
};
struct StreamData {
  std::uint32_t stream = 0;
  StreamPart part = StreamPart::stdout_part;
  std::vector<std::byte> bytes;
  bool last = false;

  std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
  bool operator==(const StreamData&) const = default;
};
/// A reader was too slow: the output goes on at `offset`, and what was between is lost.
struct OutputGap {
  std::uint32_t stream = 0;
  std::uint64_t offset = 0;
  bool operator==(const OutputGap&) const = default;
};
/// The stream is over, and all that was asked for was done.
struct StreamExit {
  std::uint32_t stream = 0;
  std::uint32_t exit_code = 0;
  std::uint32_t signal = 0;  ///< 0: none
  bool timed_out = false;
  bool operator==(const StreamExit&) const = default;
};
/// The guest took input: `queued` bytes still wait here, so the writer may go on.
struct StdinWindow {
  std::uint32_t stream = 0;
  std::size_t queued = 0;
  bool operator==(const StdinWindow&) const = default;
};
/// The guest refused or gave up a stream (0: a control request).
struct StreamError {
  std::uint32_t stream = 0;
  std::uint32_t reason = 0;  ///< enum nanobox_reason
  std::string text;
  std::uint32_t error_number = 0;  ///< Linux' errno, where the reason has one
};
using ChannelEvent = std::variant<SessionUp, Configured, Quiesced, Thawed, Pong, GuestStats, Opened, StreamData,
                                  OutputGap, StdinWindow, StreamExit, StreamError>;

}  // namespace nanobox
