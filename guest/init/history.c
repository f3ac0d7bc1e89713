#include "history.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../protocol.h"

#define CAPACITY_MIN (16u * 1024)

static uint64_t limit = 16u * 1024 * 1024, taken;

void histories_limit(uint64_t bytes) {
  limit = bytes;
}

static size_t cost(size_t capacity) {
  return capacity + capacity / 8;
}

static bool is_stderr(const struct history* history, size_t at) {
  return history->parts[at / 8] >> (at % 8) & 1;
}

static void mark(uint8_t* parts, size_t at, size_t size, bool err) {
  while (size > 0) {
    if (at % 8 == 0 && size >= 8) {
      memset(parts + at / 8, err ? 0xFF : 0, size / 8);
      at += size / 8 * 8;
      size %= 8;
      continue;
    }
    const uint8_t bit = (uint8_t)(1u << (at % 8));
    parts[at / 8] = (uint8_t)(err ? parts[at / 8] | bit : parts[at / 8] & ~bit);
    ++at;
    --size;
  }
}

static void store(struct history* history, const uint8_t* bytes, size_t size, bool err) {
  const size_t end = (history->start + history->used) % history->capacity;
  const size_t first = size < history->capacity - end ? size : history->capacity - end;
  memcpy(history->bytes + end, bytes, first);
  memcpy(history->bytes, bytes + first, size - first);
  mark(history->parts, end, first, err);
  mark(history->parts, 0, size - first, err);
  history->used += size;
}

uint64_t history_begin(const struct history* history) {
  return history->end - history->used;
}

const uint8_t* history_piece(const struct history* history, uint64_t position, size_t* size, uint16_t* part) {
  if (position >= history->end) return NULL;
  const size_t distance = (size_t)(position - history_begin(history));
  const size_t at = (history->start + distance) % history->capacity;
  size_t most = history->used - distance;
  if (most > history->capacity - at) most = history->capacity - at;
  if (most > *size) most = *size;
  const bool err = is_stderr(history, at);
  size_t length = 0;
  while (length < most) {
    const size_t bit = at + length;
    if (bit % 8 == 0 && most - length >= 8 && history->parts[bit / 8] == (err ? 0xFF : 0)) {
      length += 8;
      continue;
    }
    if (is_stderr(history, bit) != err) break;
    ++length;
  }
  *size = length;
  *part = err ? NANOBOX_PART_STDERR : NANOBOX_PART_STDOUT;
  return history->bytes + at;
}

/* Room for `size` more bytes, as far as the limits allow it. */
static void grow(struct history* history, size_t size) {
  size_t capacity = history->capacity ? history->capacity : CAPACITY_MIN;
  while (capacity - history->used < size && capacity < NANOBOX_OUTPUT_KEPT) capacity *= 2;
  while (capacity > CAPACITY_MIN && taken - cost(history->capacity) + cost(capacity) > limit) capacity /= 2;
  if (capacity <= history->capacity) return;
  struct history grown = {.bytes = malloc(cost(capacity)), .capacity = capacity, .end = history->end};
  if (!grown.bytes) return;
  grown.parts = grown.bytes + capacity;
  size_t piece;
  uint16_t part;
  for (uint64_t at = history_begin(history); at < history->end; at += piece) {
    piece = history->used;
    const uint8_t* bytes = history_piece(history, at, &piece, &part);
    store(&grown, bytes, piece, part == NANOBOX_PART_STDERR);
  }
  taken += cost(capacity) - cost(history->capacity);
  free(history->bytes);
  *history = grown;
}

void history_put(struct history* history, uint16_t part, const uint8_t* bytes, size_t size) {
  if (size > history->capacity - history->used) grow(history, size);
  history->end += size;
  if (history->capacity == 0) return;
  if (size > history->capacity) {
    bytes += size - history->capacity;
    size = history->capacity;
  }
  if (size > history->capacity - history->used) {
    const size_t drop = size - (history->capacity - history->used);
    history->start = (history->start + drop) % history->capacity;
    history->used -= drop;
  }
  store(history, bytes, size, part == NANOBOX_PART_STDERR);
}

void history_drop(struct history* history) {
  taken -= cost(history->capacity);
  free(history->bytes);
  *history = (struct history){.end = history->end};
}
