#include "stream.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 256
/* Less room is not worth a frame. */
#define ROOM_MIN (NANOBOX_FRAME_HEADER + 4096u)
/* With its header a frame of data is the most that the port takes in one write; more would only keep others waiting. */
#define PIECE_MAX (32768u - NANOBOX_FRAME_HEADER)

/* Streams that had nothing to send are served before those that always have, so that a keystroke's echo does not wait
 * for a download; having been served they go behind the others, so that nobody is starved. */
enum { QUEUE_NONE, QUEUE_FRESH, QUEUE_BUSY, QUEUES };

static struct stream* buckets[BUCKETS];
static size_t stream_count;
static struct { struct stream *first, *last; } queues[QUEUES];
static struct stream* serving; /* NULL once it has ended */
static bool silent;

static struct stream** place_of(uint32_t number) {
  struct stream** at = &buckets[number % BUCKETS];
  while (*at && (*at)->number != number) at = &(*at)->next;
  return at;
}

static void enqueue(struct stream* stream, int queue) {
  stream->queue = queue;
  stream->turn_after = NULL;
  stream->turn_before = queues[queue].last;
  *(queues[queue].last ? &queues[queue].last->turn_after : &queues[queue].first) = stream;
  queues[queue].last = stream;
}

static void dequeue(struct stream* stream) {
  if (stream->queue == QUEUE_NONE) return;
  *(stream->turn_before ? &stream->turn_before->turn_after : &queues[stream->queue].first) = stream->turn_after;
  *(stream->turn_after ? &stream->turn_after->turn_before : &queues[stream->queue].last) = stream->turn_before;
  stream->queue = QUEUE_NONE;
}

struct stream* stream_make(uint32_t number, const struct stream_kind* kind, void* owner) {
  struct stream* stream = stream_count < STREAMS_MAX ? calloc(1, sizeof *stream) : NULL;
  if (!stream) {
    channel_send_error(number, NANOBOX_REASON_NO_RESOURCES, 0, "the sandbox has no room for another stream");
    return NULL;
  }
  *stream = (struct stream){.number = number, .kind = kind, .owner = owner, .credit = NANOBOX_INITIAL_CREDIT};
  *place_of(number) = stream;
  ++stream_count;
  return stream;
}

struct stream* stream_make_owned(uint32_t number, const struct stream_kind* kind, size_t size) {
  void* owner = calloc(1, size);
  if (!owner) {
    channel_send_error(number, NANOBOX_REASON_NO_RESOURCES, 0, "the sandbox has no memory left");
    return NULL;
  }
  struct stream* stream = stream_make(number, kind, owner);
  if (!stream) free(owner);
  return stream;
}

bool stream_exists(uint32_t number) {
  return *place_of(number) != NULL;
}

void stream_end(struct stream* stream) {
  struct stream** at = place_of(stream->number);
  *at = stream->next;
  dequeue(stream);
  if (serving == stream) serving = NULL;
  --stream_count;
  free(stream);
}

void stream_wake(struct stream* stream) {
  if (stream->queue == QUEUE_NONE) enqueue(stream, QUEUE_FRESH);
}

uint32_t stream_allowance(const struct stream* stream) {
  const size_t room = channel_room();
  if (room < ROOM_MIN) return 0;
  uint32_t most = PIECE_MAX;
  if (most > room - NANOBOX_FRAME_HEADER) most = (uint32_t)room - NANOBOX_FRAME_HEADER;
  const uint32_t payable = stream->credit > NANOBOX_DATA_COST ? stream->credit - NANOBOX_DATA_COST : 0;
  return most < payable ? most : payable;
}

void stream_send(struct stream* stream, uint8_t flags, uint16_t part, const uint8_t* bytes, uint32_t length) {
  channel_send(NANOBOX_DATA, flags, part, stream->number, bytes, length);
  if (length > 0) stream->credit -= length + NANOBOX_DATA_COST;
}

void stream_opened(struct stream* stream, const struct tlv_writer* what) {
  channel_send(NANOBOX_OPENED, 0, 0, stream->number, what->bytes, what->used);
}

void stream_gap(struct stream* stream, uint64_t offset) {
  TLV_WRITER(what, 16);
  tlv_put_u64(&what, NANOBOX_TAG_OFFSET, offset);
  channel_send(NANOBOX_GAP, 0, 0, stream->number, what.bytes, what.used);
}

void stream_exit(struct stream* stream, const struct tlv_writer* what) {
  channel_send(NANOBOX_EXIT, NANOBOX_FLAG_LAST, 0, stream->number, what ? what->bytes : NULL, what ? what->used : 0);
  stream_end(stream);
}

void stream_fail(struct stream* stream, uint32_t reason, int number, const char* text) {
  channel_send_error(stream->number, reason, number, text);
  stream_end(stream);
}

void stream_grant(struct stream* stream, struct inbox* inbox) {
  const uint32_t credit = inbox_grant(inbox);
  if (credit == 0) return;
  TLV_WRITER(what, 16);
  tlv_put_u32(&what, NANOBOX_TAG_CREDIT, credit);
  channel_send(NANOBOX_WINDOW, 0, NANOBOX_PART_STDIN, stream->number, what.bytes, what.used);
}

void streams_data(uint32_t number, const uint8_t* bytes, uint32_t length, bool last) {
  struct stream* stream = *place_of(number);
  if (!stream || !stream->kind->input || stream->kind->input(stream, bytes, length, last)) return;
  stream->kind->close(stream, false);
  stream_fail(stream, NANOBOX_REASON_BAD_REQUEST, 0, "more was sent than was granted");
}

void streams_window(uint32_t number, uint32_t credit) {
  struct stream* stream = *place_of(number);
  if (!stream) return;
  stream->credit = credit > UINT32_MAX - stream->credit ? UINT32_MAX : stream->credit + credit;
  stream_wake(stream);
}

void streams_signal(uint32_t number, int signal_number) {
  struct stream* stream = *place_of(number);
  if (stream && stream->kind->signal && signal_number > 0 && signal_number < 65)
    stream->kind->signal(stream, signal_number);
}

void streams_resize(uint32_t number, uint16_t columns, uint16_t rows) {
  struct stream* stream = *place_of(number);
  if (stream && stream->kind->resize) stream->kind->resize(stream, columns, rows);
}

void streams_close(uint32_t number) {
  struct stream* stream = *place_of(number);
  if (!stream) return;
  stream->kind->close(stream, false);
  stream_end(stream);
}

void streams_event(uint32_t number) {
  struct stream* stream = *place_of(number);
  if (!stream) return;
  if (stream->kind->event)
    stream->kind->event(stream);
  else
    stream_wake(stream);
}

bool streams_pump(void) {
  const int queue = queues[QUEUE_FRESH].first ? QUEUE_FRESH : QUEUE_BUSY;
  struct stream* stream = queues[queue].first;
  if (silent || !stream || channel_room() < ROOM_MIN) return false;
  dequeue(stream);
  serving = stream;
  const bool more = stream->kind->send(stream);
  if (serving) {
    dequeue(stream); /* it may have woken itself */
    if (more || queue == QUEUE_FRESH) enqueue(stream, QUEUE_BUSY);
  }
  serving = NULL;
  return true;
}

void streams_lose_all(void) {
  for (size_t i = 0; i < BUCKETS; ++i)
    while (buckets[i]) {
      struct stream* stream = buckets[i];
      stream->kind->close(stream, true);
      stream_end(stream);
    }
}

void streams_silence(bool wanted) {
  silent = wanted;
  for (size_t i = 0; i < BUCKETS && !silent; ++i)
    for (struct stream* stream = buckets[i]; stream; stream = stream->next) stream_wake(stream);
}

bool streams_are_silent(void) {
  return silent;
}
