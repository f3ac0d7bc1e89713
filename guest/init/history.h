/* The last bytes of a detached command's output, stdout and stderr in the order in which they were read. Positions are
 * bytes of both since the command's start. */
#ifndef NANOBOX_HISTORY_H
#define NANOBOX_HISTORY_H

#include <stddef.h>
#include <stdint.h>

struct history {
  uint8_t* bytes; /* a ring; NULL until something was kept */
  uint8_t* parts; /* a bit for each byte: stderr */
  size_t capacity, start, used;
  uint64_t end; /* position behind the last byte, kept or not */
};

/* How much all histories may take together; each may have 16 KiB beyond it. */
void histories_limit(uint64_t bytes);
/* `part`: NANOBOX_PART_STDOUT or _STDERR */
void history_put(struct history* history, uint16_t part, const uint8_t* bytes, size_t size);
/* The oldest position that is kept. */
uint64_t history_begin(const struct history* history);
/* Bytes of one part from `position` on that lie in one piece, at most `*size`; NULL at the end. `position` is kept. */
const uint8_t* history_piece(const struct history* history, uint64_t position, size_t* size, uint16_t* part);
/* Drops what is kept; the end stays. */
void history_drop(struct history* history);

#endif
