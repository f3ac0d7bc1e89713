#pragma once

#include "actors/concerns.hpp"

namespace nanobox {

/// What of a guest is reached from elsewhere: streams and console. The answer to `open` comes from the VM's own
/// supervisor, before anything that the sink is told.
using GuestAccessActor =
    caf::typed_actor<caf::replies_to<open_atom, std::string, StreamRequest, StreamSink>::with<GuestStream>,
                     caf::replies_to<console_atom, std::string>::with<std::string>,
                     caf::replies_to<console_atom, std::string, std::uint64_t>::with<ConsolePiece>>;

}  // namespace nanobox
