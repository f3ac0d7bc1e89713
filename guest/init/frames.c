#include "frames.h"

#include <string.h>

void frames_take(struct frame_parser* parser, frame_taker* take) {
  size_t at = 0;
  while (at < parser->used) {
    const uint8_t* frame = parser->bytes + at;
    const size_t left = parser->used - at;
    if (frame[0] == 0 || (parser->searching && frame[0] != NANOBOX_HELLO)) { /* zeros are padding between frames */
      ++at;
      continue;
    }
    if (left < NANOBOX_FRAME_HEADER) break;
    const uint32_t length = nanobox_get32(frame + 8);
    const bool possible = length <= (parser->searching ? NANOBOX_HELLO_MAX : NANOBOX_FRAME_PAYLOAD_MAX);
    if (possible && left < NANOBOX_FRAME_HEADER + length) break;
    if (!possible || !nanobox_frame_is_intact(frame, length)) {
      parser->searching = true;
      ++at;
      continue;
    }
    parser->searching = false;
    at += NANOBOX_FRAME_HEADER + length;
    take(frame[0], frame[1], nanobox_get16(frame + 2), nanobox_get32(frame + 4), frame + NANOBOX_FRAME_HEADER, length);
  }
  if (at == 0) return; /* most reads bring a part of a frame */
  memmove(parser->bytes, parser->bytes + at, parser->used - at);
  parser->used -= at;
}
