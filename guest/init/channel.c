#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frames.h"
#include "init.h"

#define QUEUE_SIZE (1024u * 1024)
/* Kept free of stream data, so that control frames always find room. */
#define QUEUE_RESERVE (512u * 1024)

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
  const size_t limit = QUEUE_SIZE - QUEUE_RESERVE;
  return queue_used >= limit ? 0 : limit - queue_used;
}

static void enqueue(const uint8_t* bytes, size_t size) {
  size_t end = (queue_start + queue_used) % QUEUE_SIZE;
  const size_t first = size < QUEUE_SIZE - end ? size : QUEUE_SIZE - end;
  memcpy(queue + end, bytes, first);
  memcpy(queue, bytes + first, size - first);
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

void channel_send_error(uint32_t stream, uint32_t reason, const char* text) {
  struct tlv_writer writer = {.used = 0};
  tlv_put_u32(&writer, NANOBOX_TAG_REASON, reason);
  tlv_put(&writer, NANOBOX_TAG_TEXT, text, (uint32_t)strlen(text));
  channel_send(NANOBOX_ERROR, NANOBOX_FLAG_LAST, 0, stream, writer.bytes, writer.used);
}

void channel_writable(void) {
  while (queue_used > 0) {
    const size_t piece = queue_used < QUEUE_SIZE - queue_start ? queue_used : QUEUE_SIZE - queue_start;
    const ssize_t written = write(port, queue + queue_start, piece);
    if (written <= 0) return; /* edge-triggered epoll tells when there is room */
    queue_start = (queue_start + (size_t)written) % QUEUE_SIZE;
    queue_used -= (size_t)written;
  }
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
  }
}
