#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "actors/vm_remains.hpp"
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
  VmmStockActor stock;
  VmRemainsBoard remains;
  std::string sandbox_id;
  std::shared_ptr<Vm> vm;
  std::unique_ptr<ChannelSession> session;
  std::map<std::uint32_t, OpenStream> streams;  ///< by number

  bool ready_mark = false;
  bool configured = false;
  bool restored = false;  ///< from a saved state
  bool pooled = false;    ///< it waited in a pool
  BootPurpose purpose = BootPurpose::sandbox;
  bool configured_ahead = false;  ///< CONFIGURE was sent before its stage
  bool ending = false;            ///< we end it: its exit is no failure
  std::optional<Error> ended;     ///< set once the VM is gone or given up
  std::string disk_problem;
  std::chrono::steady_clock::time_point received;
  std::int64_t boot_time_ms = 0;

  std::optional<std::pair<StartedVm, caf::typed_response_promise<ReadyGuest>>> handshake;
  std::optional<std::pair<ReadyGuest, caf::typed_response_promise<ReadyGuest>>> rehearsing;
  std::optional<std::pair<Sandbox, caf::typed_response_promise<Sandbox>>> configuring;
  std::optional<caf::typed_response_promise<void>> adopting;
  std::vector<caf::typed_response_promise<void>> enders;
  /// Followers of the console that have seen all of it, with their offsets.
  std::vector<std::pair<std::uint64_t, caf::typed_response_promise<ConsolePiece>>> console_waiters;
  /// Whether the poller should tell of new console bytes: once, however many come.
  std::shared_ptr<std::atomic<bool>> console_wanted = std::make_shared<std::atomic<bool>>(false);
  /// A guest being saved: the steps after QUIESCE, and who waits. What the session says meanwhile waits here.
  struct Saving {
    SaveOrder order;
    caf::typed_response_promise<Saved> promise;
    std::chrono::steady_clock::time_point frozen_since;
    bool working = false;
  };
  std::optional<Saving> saving;
  std::uint32_t savings = 0;
  bool frozen = false;  ///< QUIESCEd: nothing is sent, so that a copy's channel begins between two frames
  std::vector<caf::typed_response_promise<void>> pingers;
  bool starting = false;
  std::stop_source stop_starting;
};

VmSupervisorActor::behavior_type vm_supervisor(VmSupervisorActor::stateful_pointer<VmSupervisorState> self,
                                               SharedServices services, VmEndedSink sink, VmmStockActor stock,
                                               VmRemainsBoard remains, std::string sandbox_id);

}  // namespace nanobox
