#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/boot/vmm/poller.hpp"
#include "pipeline/boot/vmm/qmp_message.hpp"

namespace nanobox {

/// A conversation with one VMM over a connected Unix socket. Thread-safe.
class QmpSession : public std::enable_shared_from_this<QmpSession> {
public:
  using Reply = std::function<void(Result<std::string>)>;  ///< the "return" value as JSON text
  using Event = std::function<void(const QmpMessage&)>;
  static constexpr std::size_t most_outstanding = 64;
  /// The name of the event that tells that the VMM has closed its end, the last of a session; no VMM sends it.
  static constexpr std::string_view closed_event = "(closed)";

  /// Starts reading; the VMM may still be on its way up. Sends `qmp_capabilities` first of all.
  /// @param on_event  from the poller's thread, not after `close` returned
  static Result<std::shared_ptr<QmpSession>> open(std::shared_ptr<Poller> poller, UniqueFd socket, Event on_event);
  ~QmpSession();

  /// Sends a command. `reply` is called once, from the poller's thread (or by `close`, or here when nothing can be
  /// sent).
  /// @param arguments  a JSON object as text; empty for none
  /// @param attached   travels with the command (SCM_RIGHTS), as `getfd` wants it
  /// @errors vmm_failed (the VMM's own words) · deadline_exceeded · guest_gone · no_capacity (64 are outstanding)
  void execute(std::string_view command, std::string_view arguments, std::chrono::milliseconds deadline, Reply reply,
               UniqueFd attached = {});
  /// The same, waiting for the reply; not from the poller's thread.
  Result<std::string> call(std::string_view command, std::string_view arguments, std::chrono::milliseconds deadline,
                           UniqueFd attached = {});
  struct Call {
    std::string command;
    std::string arguments;  ///< as for `execute`
    UniqueFd attached = {};
  };
  /// Sends all at once and waits for every reply: the VMM works them off in order without waiting for us. Those after
  /// one that failed are still tried. @errors of the first that failed
  Result<void> call_all(std::vector<Call> calls, std::chrono::milliseconds deadline);
  /// Reads what is left, e.g. the last events of a VMM that has ended. From the poller's thread only.
  void drain();
  /// Ends it; commands without a reply fail with guest_gone. Idempotent.
  void close();

private:
  struct Outgoing {
    std::string bytes;
    std::size_t sent = 0;
    UniqueFd attached;
  };
  struct Pending {
    std::string command;
    Reply reply;
    PollWatch deadline;
  };

  QmpSession(std::shared_ptr<Poller> poller, UniqueFd socket, Event on_event);
  void on_ready(std::uint32_t events);
  bool read_some();
  void handle(QmpMessage message);
  void write_queued();
  void expire(std::uint64_t id);
  void fail_all(const std::string& reason);
  Pending take(std::uint64_t id);

  const std::shared_ptr<Poller> poller_;
  const UniqueFd socket_;
  const Event on_event_;
  QmpReader reader_;  // poller's thread only
  std::mutex mutex_;
  std::deque<Outgoing> outgoing_;
  std::map<std::uint64_t, Pending> pending_;
  std::uint64_t next_id_ = 1;
  bool ended_ = false;
  PollWatch watch_;
};

}  // namespace nanobox
