/* What the host sent on a stream and its taker has not read yet, within the credit that was granted. */
#ifndef NANOBOX_INBOX_H
#define NANOBOX_INBOX_H

#include <stdbool.h>
#include <stdint.h>

struct inbox {
  uint8_t* bytes; /* of NANOBOX_INITIAL_CREDIT; NULL until something had to wait */
  uint32_t start, used;
  uint32_t taken; /* not granted again yet */
  bool last;      /* nothing follows */
  bool broken;    /* nobody reads there any more */
};

/* Writes to `fd`, and keeps what it does not take. false: more than was granted, or memory is short. */
bool inbox_put(struct inbox* inbox, int fd, const uint8_t* bytes, uint32_t length, bool last);
/* Writes what is kept. false: nobody reads there any more; all that was kept is dropped, and counts as taken. */
bool inbox_write(struct inbox* inbox, int fd);
void inbox_drop(struct inbox* inbox);
void inbox_free(struct inbox* inbox);
/* What may be granted again now; 0 where that is not worth a frame yet. */
uint32_t inbox_grant(struct inbox* inbox);

#endif
