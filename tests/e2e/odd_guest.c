/* An init that is none: -DSILENT never gets ready; -DPANICS ends at once, which panics the kernel; -DMUTE gets ready
 * and answers HELLO, and nothing after that. */
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

/* Every HELLO is answered; what else comes is read and forgotten. */
static void answer_hello_only(int channel) {
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
  answer_hello_only(channel);
}
