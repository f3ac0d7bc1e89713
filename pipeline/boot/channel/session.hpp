#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "pipeline/boot/channel/events.hpp"
#include "pipeline/boot/channel/frame.hpp"
#include "pipeline/boot/channel/requests.hpp"
#include "pipeline/boot/channel/tlv.hpp"

namespace nanobox {

/// The host's side of one session of a guest channel: bytes in, events out, and the other way round. Does no I/O and
/// trusts nothing that comes in: memory is bounded by one frame and the credit granted. Not thread-safe.
class ChannelSession {
public:
  /// The most that waits here for the guest's credit, of one stream.
  static constexpr std::size_t stdin_queue_max = std::size_t{16} << 20;

  /// What a guest may send of a file or folder before it hears of us; of all else it is NANOBOX_INITIAL_CREDIT.
  static constexpr std::size_t file_window = std::size_t{1} << 19;

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
  /// @param sync  the guest's disk then holds all that was written
  void quiesce(bool sync = false);
  void thaw();
  void ping(std::uint64_t clock_ns);
  void ask_stats();
  void shutdown();

  // Every open_… gives a stream's number, which is never used again in this session. What follows is told by events:
  // Opened, then StreamData against credit, and StreamExit or StreamError at the end.

  /// A command. Detached: Opened ends the stream, the command is reached by its process id.
  /// @errors command_invalid: arguments and environment are larger than a frame, or the process id is none
  Result<std::uint32_t> open_exec(const ExecRequest& request);
  /// A reader of a detached command's output, one of any number, and of its end. Closing it leaves the command alone.
  /// @errors command_invalid
  Result<std::uint32_t> open_attach(const AttachRequest& request);
  /// @param pid  the command's, from its Opened
  std::uint32_t open_attach(std::uint32_t pid);
  /// A writer of a command's stdin, one at a time. Write with `write_stdin`, whose last bytes are answered by
  /// StreamExit once the command's pipe took all. @errors command_invalid
  Result<std::uint32_t> open_input(const InputRequest& request);
  /// The commands that the guest still knows: read the data with RecordReader and read_process.
  std::uint32_t open_processes();
  /// Sends a signal to a command's process group; forgets an ended command. @errors command_invalid
  Result<std::uint32_t> open_signal(const std::string& process_id, std::uint32_t number);
  Result<std::uint32_t> open_forget(const std::string& process_id);

  /// A file's bytes; Opened tells what it is. @errors path_invalid
  Result<std::uint32_t> open_file_read(const FileReadRequest& request);
  /// Writes with `write_stdin`; StreamExit says that the file is whole under its name. Closed or lost before, nothing
  /// changes. @errors path_invalid
  Result<std::uint32_t> open_file_write(const FileWriteRequest& request);
  /// Opened tells what it is, links not followed. @errors path_invalid
  Result<std::uint32_t> open_file_stat(const FileRequest& request);
  /// A folder's entries in no order: read the data with RecordReader and read_file_entry. @errors path_invalid
  Result<std::uint32_t> open_file_list(const FileRequest& request);
  Result<std::uint32_t> open_file_remove(const FileRemoveRequest& request);
  Result<std::uint32_t> open_file_rename(const FileRenameRequest& request);
  Result<std::uint32_t> open_folder_make(const FolderMakeRequest& request);
  /// A folder's content as a POSIX tar stream, and the other way round with `write_stdin`. @errors path_invalid
  Result<std::uint32_t> open_archive_read(const FileRequest& request);
  Result<std::uint32_t> open_archive_write(const FileRequest& request);

  /// A connection to that port inside of the guest; `write_stdin` and StreamData with `last` end one direction each.
  std::uint32_t open_tcp(std::uint16_t port);
  /// What the guest's init reports about itself, as lines of text.
  std::uint32_t open_log(const LogRequest& request);

  /// Queues bytes for the guest's end of the stream; what exceeds its credit waits here. A stream that ended takes them
  /// and drops them.
  /// @errors body_too_large: more than `stdin_queue_max` would wait; nothing was queued, go on after a StdinWindow
  Result<void> write_stdin(std::uint32_t stream, std::string_view bytes, bool last);
  /// Bytes of the stream's input that wait for credit.
  std::size_t stdin_queued(std::uint32_t stream) const;
  /// `bytes` of the stream's output need no room here any more: lets the guest send as many again, and what their
  /// frames cost. It is told once they are enough to be worth a frame.
  void grant(std::uint32_t stream, std::uint32_t bytes);
  void signal(std::uint32_t stream, std::uint32_t number);
  /// A terminal's new size; of no effect on commands without one.
  void resize(std::uint32_t stream, std::uint16_t columns, std::uint16_t rows);
  /// The stream is not wanted any more: its command gets TERM and two seconds later KILL, a reader leaves, a file that
  /// is not whole is dropped. Nothing more of it is reported.
  void close(std::uint32_t stream);

private:
  struct Stream {
    std::uint64_t out_granted = 0;          ///< what the guest may still send, see NANOBOX_DATA_COST
    std::uint64_t undigested = 0;           ///< bytes of output that were not granted again yet
    std::uint64_t undigested_overhead = 0;  ///< what their frames cost beside them
    std::uint64_t untold = 0;               ///< digested, but the guest was not told yet
    std::uint64_t out_window = 0;           ///< the most that was ever granted at once
    std::uint64_t in_credit = 0;            ///< bytes we may still send
    std::string stdin_waiting;
    std::size_t stdin_sent = 0;  ///< of `stdin_waiting`, not erased yet
    bool stdin_last = false;
    bool stdin_ended = false;
    bool opened = false;
    bool ends_opened = false;
    bool skipped = false;       ///< the last of its output was a gap
    bool window_moved = false;  ///< is in `moved_windows_`
    bool stdout_ended = false;
    bool stderr_ended = false;
  };
  using Streams = std::map<std::uint32_t, Stream>;
  using Taken = Result<std::optional<ChannelEvent>>;

  void send(std::uint8_t type, std::uint8_t flags, std::uint16_t part, std::uint32_t stream,
            std::span<const std::byte> payload);
  std::uint32_t open(std::uint32_t stdin_credit, std::span<const std::byte> payload);
  Result<std::uint32_t> open(std::uint32_t stdin_credit, Result<std::vector<std::byte>> payload);
  /// For output that the guest has at once: its speed would be one window for each way there and back.
  Result<std::uint32_t> widened(Result<std::uint32_t> stream);
  void send_window(std::uint32_t number, Stream& stream, std::uint64_t credit);
  void pump_stdin(std::uint32_t number, Stream& stream);
  Taken take_frame(const Frame& frame);
  Taken take_acknowledgement(const Frame& frame);
  Taken take_control(const Frame& frame);
  Taken take_stream(const Frame& frame, Streams::iterator found);
  Taken take_opened(const Frame& frame, Streams::iterator found);
  static Taken take_data(const Frame& frame, Stream& stream);
  Taken take_window(const Frame& frame, Stream& stream);

  const std::array<std::byte, 16> nonce_;
  bool up_ = false;
  bool broken_ = false;
  FrameDecoder decoder_;
  std::vector<std::byte> output_;
  Streams streams_;
  std::vector<std::uint32_t> moved_windows_;  ///< streams whose input went on in the present `feed`
  std::uint32_t last_stream_ = 0;
};

}  // namespace nanobox
