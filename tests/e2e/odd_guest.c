/* An init that is none: -DSILENT never gets ready; -DPANICS ends at once, which panics the kernel; -DMUTE gets ready
 * and answers HELLO, and nothing after that; -DHASTY is configured too, and answers each OPEN with output and an end,
 * without having opened anything. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "guest/protocol.h"

static int open_channel(void) {
  for (int device = 0; device < 8; ++device) {
    char path[32];
    snprintf(path, sizeof path, "/dev/vport%dp1", device);
    const int channel = open(path, O_RDWR);
    if (channel >= 0) return channel;
  }
  return -1;
}

static uint8_t* put(uint8_t* at, uint16_t tag, uint32_t size, const void* value) {
  nanobox_put16(at, tag);
  nanobox_put32(at + 2, size);
  memcpy(at + 6, value, size);
  return at + 6 + size;
}

static void acknowledge(int channel, const uint8_t* nonce) {
  uint8_t frame[256], version[4], features[8] = {NANOBOX_FEATURE_EXEC};
  nanobox_put32(version, NANOBOX_PROTOCOL_VERSION);
  uint8_t* at = frame + NANOBOX_FRAME_HEADER;
  at = put(at, NANOBOX_TAG_VERSION, sizeof version, version);
  at = put(at, NANOBOX_TAG_NONCE, NANOBOX_NONCE_BYTES, nonce);
  at = put(at, NANOBOX_TAG_BOOT_ID, 36, "00000000-0000-4000-8000-000000000000");
  at = put(at, NANOBOX_TAG_FEATURES, sizeof features, features);
  const uint32_t length = (uint32_t)(at - frame - NANOBOX_FRAME_HEADER);
  nanobox_put_header(frame, NANOBOX_HELLO_ACK, 0, 0, 0, frame + NANOBOX_FRAME_HEADER, length);
  if (write(channel, frame, NANOBOX_FRAME_HEADER + length) < 0) perror("odd guest");
}

#ifdef HASTY
static void send_frame(int channel, uint8_t type, uint16_t part, uint32_t stream, const void* payload, uint32_t length) {
  uint8_t frame[64];
  memcpy(frame + NANOBOX_FRAME_HEADER, payload, length);
  nanobox_put_header(frame, type, 0, part, stream, payload, length);
  if (write(channel, frame, NANOBOX_FRAME_HEADER + length) < 0) perror("odd guest");
}

static void be_hasty(int channel, uint8_t type, uint32_t stream) {
  if (type == NANOBOX_CONFIGURE) send_frame(channel, type, 0, 0, "", 0);
  if (type != NANOBOX_OPEN) return;
  send_frame(channel, NANOBOX_DATA, NANOBOX_PART_STDOUT, stream, "hasty", 5);
  send_frame(channel, NANOBOX_EXIT, 0, stream, "", 0);
}
#endif

/* Every HELLO is answered; what else comes is read and, but by a hasty guest, forgotten. */
static void answer(int channel) {
  static uint8_t bytes[1 << 17];
  for (size_t used = 0;;) {
    const ssize_t got = read(channel, bytes + used, sizeof bytes - used);
    if (got <= 0) {
      usleep(2000); /* no host yet: the kernel offers nothing to wait for */
      continue;
    }
    used += (size_t)got;
    while (used >= NANOBOX_FRAME_HEADER) {
      const uint32_t length = nanobox_get32(bytes + 8);
      if (used < NANOBOX_FRAME_HEADER + length) break;
      const uint8_t* payload = bytes + NANOBOX_FRAME_HEADER;
      for (uint32_t at = 0; bytes[0] == NANOBOX_HELLO && at + 6 <= length; at += 6 + nanobox_get32(payload + at + 2))
        if (nanobox_get16(payload + at) == NANOBOX_TAG_NONCE) acknowledge(channel, payload + at + 6);
#ifdef HASTY
      be_hasty(channel, bytes[0], nanobox_get32(bytes + 4));
#endif
      used -= NANOBOX_FRAME_HEADER + length;
      memmove(bytes, bytes + NANOBOX_FRAME_HEADER + length, used);
    }
  }
}

int main(void) {
  mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
  const int console = open("/dev/console", O_RDWR);
  dprintf(console, "an odd guest\n");
#ifdef PANICS
  return 0;
#endif
#ifdef SILENT
  for (;;) pause();
#endif
  const int channel = open_channel();
  dprintf(console, "NANOBOX_READY\n");
  answer(channel);
}
