/* The last bytes of an output that nobody reads for now. */
#ifndef NANOBOX_TAIL_H
#define NANOBOX_TAIL_H

#include <stddef.h>
#include <stdint.h>

#define TAIL_SIZE (1024u * 1024)
/* All commands together; outputs beyond it are dropped whole. */
#define TAILS_MAX 16

struct tail {
  uint8_t* bytes; /* NULL until something was kept */
  size_t start, used;
};

void tail_put(struct tail* tail, const uint8_t* bytes, size_t size);
/* The oldest bytes that lie in one piece, at most `*size` of them; NULL where there are none. */
const uint8_t* tail_front(const struct tail* tail, size_t* size);
void tail_drop(struct tail* tail, size_t size);
void tail_free(struct tail* tail);

#endif
