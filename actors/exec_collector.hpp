#pragma once

#include <memory>
#include <optional>

#include "actors/guest_access.hpp"
#include "actors/stdin_feed.hpp"
#include "pipeline/boot/output_spool.hpp"

namespace nanobox {

/// One command whose output is kept until it has ended.
using ExecCollectorActor = StreamSink::extend<
    // Answers with the outcome, and ends.
    caf::replies_to<exec_atom>::with<ExecOutcome>,
    // INTERNAL: the command did not end within its deadline and the guest did not say so.
    caf::reacts_to<tick_atom>>;

struct ExecCollectorState {
  static inline const char* name = "exec_collector";
  ExecRequest request;
  std::optional<StdinFeed> stdin_feed;
  std::optional<caf::typed_response_promise<ExecOutcome>> promise;
  std::optional<GuestStream> stream;
  std::chrono::steady_clock::time_point started;
  ExecOutcome outcome;
  std::string waiting[2];  ///< stdout's and stderr's, for the file: at most the credit
  bool writing = false;
  bool ended = false;
};

/// Told to exit (the client left), it ends the command.
ExecCollectorActor::behavior_type exec_collector(ExecCollectorActor::stateful_pointer<ExecCollectorState> self,
                                                 const SpoolPlace& spools, GuestAccessActor guests,
                                                 std::string sandbox_id, ExecCommand command);

}  // namespace nanobox
