/* Finds frames in the bytes a host sends; no I/O, so that it is fuzzed outside of a guest. */
#ifndef NANOBOX_FRAMES_H
#define NANOBOX_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../protocol.h"

struct frame_parser {
  uint8_t bytes[2u * (NANOBOX_FRAME_HEADER + NANOBOX_FRAME_PAYLOAD_MAX)];
  size_t used;
  bool searching; /* the last frame was broken: only a HELLO is believed */
};

typedef void frame_taker(uint8_t type, uint8_t flags, uint16_t part, uint32_t stream, const uint8_t* payload,
                         uint32_t length);

/* Hands every whole frame of `bytes` to `take` and keeps the rest. There is always room for more afterwards. */
void frames_take(struct frame_parser* parser, frame_taker* take);

#endif
