#pragma once

#include <map>
#include <memory>
#include <optional>

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "pipeline/boot/channel/session.hpp"

namespace nanobox {

/// A command whose outcome somebody waits for.
struct RunningExec {
  std::string id;  ///< the asker's
  ExecCommand command;
  ExecOutcome outcome;
  std::chrono::steady_clock::time_point started;
  caf::typed_response_promise<ExecOutcome> promise;
};

struct VmSupervisorState {
  static inline const char* name = "vm_supervisor";
  SharedServices services;
  VmEndedSink sink;  ///< told when the VM ends by itself
  std::string sandbox_id;
  std::shared_ptr<Vm> vm;
  std::unique_ptr<ChannelSession> session;
  std::map<std::uint32_t, RunningExec> execs;  ///< by stream

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
  bool starting = false;
};

VmSupervisorActor::behavior_type vm_supervisor(VmSupervisorActor::stateful_pointer<VmSupervisorState> self,
                                               SharedServices services, VmEndedSink sink, std::string sandbox_id);

}  // namespace nanobox
