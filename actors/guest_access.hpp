#pragma once

#include "actors/concerns.hpp"

namespace nanobox {

/// What of a guest is reached from elsewhere: streams and console. The answer to `open` comes from the VM's own
/// supervisor, before anything that the sink is told.
using GuestAccessActor =
    caf::typed_actor<caf::replies_to<open_atom, std::string, StreamRequest, StreamSink>::with<GuestStream>,
                     caf::replies_to<console_atom, std::string>::with<std::string>,
                     caf::replies_to<console_atom, std::string, std::uint64_t>::with<ConsolePiece>>;

/// What it means for who uses a stream that its other end went down.
inline Error stream_ended(const caf::down_msg& down, std::string attempted, const std::string& sandbox_id) {
  if (down.reason == caf::exit_reason::remote_link_unreachable)
    return {.code = ErrorCode::node_lost,
            .attempted = std::move(attempted),
            .subject = sandbox_id,
            .reason = "the connection with its node is gone",
            .mend = "GET /api/v1/nodes shows how it fares",
            .transient = true,
            .retry_after_sec = 5};
  return {.code = ErrorCode::guest_gone,
          .attempted = std::move(attempted),
          .subject = sandbox_id,
          .reason = "its VM is gone",
          .mend = "make another sandbox"};
}

}  // namespace nanobox
