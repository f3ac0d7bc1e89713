#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "pipeline/boot/channel/session.hpp"

namespace nanobox {

/// A stream of the guest that somebody opened.
struct OpenStream {
  StreamSink sink;
  std::string_view attempted;  ///< "read a file"
};

struct VmSupervisorState {
  static inline const char* name = "vm_supervisor";
  SharedServices services;
  VmEndedSink sink;  ///< told when the VM ends by itself
  std::string sandbox_id;
  std::shared_ptr<Vm> vm;
  std::unique_ptr<ChannelSession> session;
  std::map<std::uint32_t, OpenStream> streams;  ///< by number

  bool ready_mark = false;
  bool configured = false;
  bool ending = false;         ///< we end it: its exit is no failure
  std::optional<Error> ended;  ///< set once the VM is gone or given up
  std::string disk_problem;
  std::chrono::steady_clock::time_point received;
  std::int64_t boot_time_ms = 0;

  std::optional<std::pair<StartedVm, caf::typed_response_promise<ReadyGuest>>> handshake;
  std::optional<std::pair<Sandbox, caf::typed_response_promise<Sandbox>>> configuring;
  std::optional<caf::typed_response_promise<void>> adopting;
  std::vector<caf::typed_response_promise<void>> enders;
  /// Followers of the console that have seen all of it, with their offsets.
  std::vector<std::pair<std::uint64_t, caf::typed_response_promise<ConsolePiece>>> console_waiters;
  /// Whether the poller should tell of new console bytes: once, however many come.
  std::shared_ptr<std::atomic<bool>> console_wanted = std::make_shared<std::atomic<bool>>(false);
  bool starting = false;
  std::stop_source stop_starting;
};

VmSupervisorActor::behavior_type vm_supervisor(VmSupervisorActor::stateful_pointer<VmSupervisorState> self,
                                               SharedServices services, VmEndedSink sink, std::string sandbox_id);

}  // namespace nanobox
