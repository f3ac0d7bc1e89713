#include "tail.h"

#include <stdlib.h>
#include <string.h>

static size_t tails;

void tail_put(struct tail* tail, const uint8_t* bytes, size_t size) {
  if (!tail->bytes) {
    if (tails >= TAILS_MAX || !(tail->bytes = malloc(TAIL_SIZE))) return;
    ++tails;
    tail->start = tail->used = 0;
  }
  if (size > TAIL_SIZE) {
    bytes += size - TAIL_SIZE;
    size = TAIL_SIZE;
  }
  if (size > TAIL_SIZE - tail->used) tail_drop(tail, size - (TAIL_SIZE - tail->used));
  const size_t end = (tail->start + tail->used) % TAIL_SIZE;
  const size_t first = size < TAIL_SIZE - end ? size : TAIL_SIZE - end;
  memcpy(tail->bytes + end, bytes, first);
  memcpy(tail->bytes, bytes + first, size - first);
  tail->used += size;
}

const uint8_t* tail_front(const struct tail* tail, size_t* size) {
  if (tail->used == 0) return NULL;
  if (*size > tail->used) *size = tail->used;
  if (*size > TAIL_SIZE - tail->start) *size = TAIL_SIZE - tail->start;
  return tail->bytes + tail->start;
}

void tail_drop(struct tail* tail, size_t size) {
  tail->start = (tail->start + size) % TAIL_SIZE;
  tail->used -= size;
}

void tail_free(struct tail* tail) {
  if (!tail->bytes) return;
  free(tail->bytes);
  --tails;
  *tail = (struct tail){0};
}
