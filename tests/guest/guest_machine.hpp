#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/child_process.hpp"
#include "config/unique_fd.hpp"
#include "guest/protocol.h"
#include "pipeline/boot/channel/records.hpp"
#include "pipeline/boot/channel/session.hpp"

namespace nanobox::test {

/// What became of one stream.
struct StreamOutcome {
  std::uint32_t pid = 0;
  std::string out, err;
  std::optional<Opened> opened;
  std::size_t frames = 0;         ///< of data
  std::vector<StreamPart> parts;  ///< in the order in which they came, each once in a row
  std::vector<std::uint64_t> gaps;
  bool last = false;  ///< stdout's end was told
  std::optional<StreamExit> exit;
  std::optional<StreamError> error;
  bool ended() const { return exit || error; }
};

/// A real QEMU guest with busybox and our init, and a ChannelSession over its socket. Throws where it cannot go on.
class GuestMachine {
public:
  struct Options {
    std::string kernel_arguments;
    std::uint64_t disk_mb = 16;  ///< the device; the file system has 16 MiB
    /// A machine that stops here for its state and disk, with which this one goes on; see `monitor`.
    GuestMachine* copy_of = nullptr;
  };

  GuestMachine() : GuestMachine(Options{}) {}
  explicit GuestMachine(const Options& options);
  GuestMachine(const GuestMachine&) = delete;
  GuestMachine& operator=(const GuestMachine&) = delete;
  ~GuestMachine();

  /// Connects the channel and waits for the session.
  void open_session(bool resync);
  /// The host's side is gone, in the middle of whatever it was doing.
  void drop_session();
  void configure(ConfigureMessage message = {.sandbox_id = "sb-test", .hostname = "sb-test"});

  ChannelSession& session() { return *session_; }
  const SessionUp& up() const { return up_; }
  const std::string& console() const { return console_; }
  void write_console(const std::string& text);
  /// What QEMU's monitor answers to a command.
  std::string monitor(const std::string& command);
  /// Sends these bytes as they are.
  void send_raw(std::span<const std::byte> bytes);

  std::uint32_t start(const ExecRequest& request, const std::string& input = "");
  StreamOutcome run(const ExecRequest& request, const std::string& input = "");
  /// busybox' shell with that script
  StreamOutcome shell(const std::string& script) { return run({.argv = {"/bin/sh", "-c", script}}); }
  StreamOutcome& outcome(std::uint32_t stream) { return outcomes_[stream]; }
  /// Waits for the stream's end.
  StreamOutcome& finish(std::uint32_t stream);
  StreamOutcome& finish(const Result<std::uint32_t>& stream);
  /// Sends all of it to the stream, without ending it.
  void send(std::uint32_t stream, std::string_view bytes);
  /// The commands that the guest knows, by their id.
  std::map<std::string, ProcessRecord> processes();

  /// Moves bytes until `done`; throws after `patience`.
  void until(const std::function<bool()>& done, std::chrono::seconds patience = std::chrono::seconds(60));
  /// Moves bytes for a while: what must not come has had its chance.
  void let_pass(std::chrono::milliseconds time);
  bool is_gone() { return machine_->wait(std::chrono::seconds(30)).has_value(); }

  /// Whether what a stream sends is granted again at once.
  bool grants = true;
  int configured = 0, quiesced = 0, thawed = 0;
  std::optional<Pong> pong;
  std::optional<GuestStats> stats;
  std::optional<StreamError> control_error;
  std::size_t bytes_in = 0;

private:
  bool move_bytes(std::chrono::steady_clock::time_point until);
  void take(const ChannelEvent& event);
  std::string await_prompt();

  std::filesystem::path folder_;
  std::unique_ptr<ChildProcess> machine_;
  UniqueFd channel_;
  UniqueFd console_socket_;
  UniqueFd monitor_socket_;
  std::unique_ptr<ChannelSession> session_;
  SessionUp up_;
  std::vector<std::byte> unsent_;
  std::map<std::uint32_t, StreamOutcome> outcomes_;
  std::string console_;
};

/// Whether a stream that nobody grants anything again has sent `bytes` because it may send no more: the frames' own
/// cost is what is missing.
inline bool is_all_of_the_credit(std::size_t bytes, std::size_t credit = NANOBOX_INITIAL_CREDIT) {
  return bytes <= credit && bytes > credit * 9 / 10;
}

}  // namespace nanobox::test
