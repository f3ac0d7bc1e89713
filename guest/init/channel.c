#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frames.h"
#include "init.h"

#define QUEUE_SIZE (1024u * 1024)
/* The most that waits of data: little, for what is queued delays what comes after it. The rest is for the other frames,
 * which must always find room. */
#define DATA_MAX (160u * 1024)

static int port = -1;
static struct frame_parser input;
static uint8_t queue[QUEUE_SIZE];
static size_t queue_start, queue_used;

int channel_open(void) {
  char path[32];
  for (int bus = 0; bus < 4 && port < 0; ++bus) {
    snprintf(path, sizeof path, "/dev/vport%dp1", bus);
    port = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  }
  return port;
}

size_t channel_room(void) {
  return queue_used >= DATA_MAX ? 0 : DATA_MAX - queue_used;
}

static size_t queue_end(void) {
  return (queue_start + queue_used) % QUEUE_SIZE;
}

uint8_t* channel_place(void) {
  static uint8_t elsewhere[NANOBOX_FRAME_PAYLOAD_MAX];
  const bool fits = QUEUE_SIZE - queue_end() >= NANOBOX_FRAME_HEADER + NANOBOX_FRAME_PAYLOAD_MAX;
  return fits ? queue + queue_end() + NANOBOX_FRAME_HEADER : elsewhere;
}

static void enqueue(const uint8_t* bytes, size_t size) {
  const size_t end = queue_end();
  const size_t first = size < QUEUE_SIZE - end ? size : QUEUE_SIZE - end;
  if (bytes != queue + end) { /* it may be in its place */
    memcpy(queue + end, bytes, first);
    memcpy(queue, bytes + first, size - first);
  }
  queue_used += size;
}

void channel_send(uint8_t type, uint8_t flags, uint16_t part, uint32_t stream, const void* payload, uint32_t length) {
  uint8_t header[NANOBOX_FRAME_HEADER];
  if (queue_used + sizeof header + length > QUEUE_SIZE) return; /* a host that reads nothing loses control answers */
  nanobox_put_header(header, type, flags, part, stream, payload, length);
  enqueue(header, sizeof header);
  if (length) enqueue(payload, length);
  channel_writable();
}

void channel_send_error(uint32_t stream, uint32_t reason, int number, const char* text) {
  TLV_WRITER(what, 1024);
  tlv_put_u32(&what, NANOBOX_TAG_REASON, reason);
  if (number != 0) tlv_put_u32(&what, NANOBOX_TAG_ERRNO, (uint32_t)number);
  tlv_put(&what, NANOBOX_TAG_TEXT, text, (uint32_t)strlen(text));
  channel_send(NANOBOX_ERROR, NANOBOX_FLAG_LAST, 0, stream, what.bytes, what.used);
}

void channel_writable(void) {
  while (queue_used > 0) {
    const size_t piece = queue_used < QUEUE_SIZE - queue_start ? queue_used : QUEUE_SIZE - queue_start;
    const ssize_t written = write(port, queue + queue_start, piece);
    if (written <= 0) return; /* edge-triggered epoll tells when there is room */
    queue_start = (queue_start + (size_t)written) % QUEUE_SIZE;
    queue_used -= (size_t)written;
  }
  queue_start = 0;
}

void channel_reset_output(void) {
  queue_start = queue_used = 0;
}

void channel_readable(void) {
  for (;;) {
    const ssize_t count = read(port, input.bytes + input.used, sizeof input.bytes - input.used);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return; /* nothing more, or no host: the next edge tells */
    input.used += (size_t)count;
    frames_take(&input, session_frame);
    session_settle();
  }
}
