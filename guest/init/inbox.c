#include "inbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../protocol.h"

/* Credit is told in pieces of at least this, or when all was taken. */
#define GRANT (64u * 1024)

/* How much `fd` takes; all of it where it is broken. */
static uint32_t put(struct inbox* inbox, int fd, const uint8_t* bytes, uint32_t length) {
  uint32_t taken = 0;
  while (fd >= 0 && taken < length) {
    const ssize_t written = write(fd, bytes + taken, length - taken);
    if (written > 0) {
      taken += (uint32_t)written;
    } else if (written < 0 && errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      inbox->broken = true;
      return length;
    }
  }
  return taken;
}

bool inbox_put(struct inbox* inbox, int fd, const uint8_t* bytes, uint32_t length, bool last) {
  if (length > NANOBOX_INITIAL_CREDIT - inbox->used - inbox->taken) return false;
  const uint32_t taken = inbox->used == 0 ? put(inbox, fd, bytes, length) : 0;
  const uint32_t rest = length - taken;
  if (rest > 0 && !inbox->bytes && !(inbox->bytes = malloc(NANOBOX_INITIAL_CREDIT))) return false;
  if (rest > NANOBOX_INITIAL_CREDIT - inbox->start - inbox->used) {
    memmove(inbox->bytes, inbox->bytes + inbox->start, inbox->used);
    inbox->start = 0;
  }
  if (rest > 0) memcpy(inbox->bytes + inbox->start + inbox->used, bytes + taken, rest);
  inbox->used += rest;
  inbox->taken += taken;
  inbox->last = last;
  return true;
}

bool inbox_write(struct inbox* inbox, int fd) {
  const uint32_t taken = inbox->used ? put(inbox, fd, inbox->bytes + inbox->start, inbox->used) : 0;
  inbox->used -= taken;
  inbox->start = inbox->used ? inbox->start + taken : 0;
  inbox->taken += taken;
  return !inbox->broken;
}

void inbox_drop(struct inbox* inbox) {
  inbox->taken += inbox->used;
  inbox->start = inbox->used = 0;
}

void inbox_free(struct inbox* inbox) {
  free(inbox->bytes);
  *inbox = (struct inbox){0};
}

uint32_t inbox_grant(struct inbox* inbox) {
  if (inbox->taken < GRANT && inbox->used > 0) return 0;
  const uint32_t credit = inbox->taken;
  inbox->taken = 0;
  return credit;
}
