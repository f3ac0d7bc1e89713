#pragma once

#include "actors/stream_request.hpp"
#include "actors/wire/inspected.hpp"
#include "pipeline/boot/channel/events.hpp"

// What flows between a guest's stream and its sink: binary, member by member.

namespace nanobox {

struct ConsolePiece;
struct GuestStream;

NANOBOX_WIRE_TYPE(StreamRequest);
NANOBOX_WIRE_TYPE(GuestStream);  // none without a source
NANOBOX_WIRE_TYPE(Opened);
NANOBOX_WIRE_TYPE(StreamData);
NANOBOX_WIRE_TYPE(OutputGap);
NANOBOX_WIRE_TYPE(StdinWindow);
NANOBOX_WIRE_TYPE(StreamExit);
NANOBOX_WIRE_TYPE(TerminalSize);
NANOBOX_WIRE_TYPE(ConsolePiece);

}  // namespace nanobox
