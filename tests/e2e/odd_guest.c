/* An init that is none: -DSILENT never gets ready; -DPANICS ends at once, which panics the kernel; -DMUTE gets ready
 * and answers HELLO, and nothing after that; -DHASTY is configured too, and answers each OPEN with output and an end,
 * without having opened anything; -DHOSTILE opens everything, reads what it is sent, grants nothing, and breaks the
 * rule that a command names. */
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

static void send_frame(int channel, uint8_t type, uint8_t flags, uint16_t part, uint32_t stream, const void* payload,
                       uint32_t length) {
  static uint8_t frame[NANOBOX_FRAME_HEADER + NANOBOX_FRAME_PAYLOAD_MAX];
  memcpy(frame + NANOBOX_FRAME_HEADER, payload, length);
  nanobox_put_header(frame, type, flags, part, stream, payload, length);
  if (write(channel, frame, NANOBOX_FRAME_HEADER + length) < 0) perror("odd guest");
}

static void be_hasty(int channel, uint32_t stream) {
  send_frame(channel, NANOBOX_DATA, 0, NANOBOX_PART_STDOUT, stream, "hasty", 5);
  send_frame(channel, NANOBOX_EXIT, 0, 0, stream, "", 0);
}

/* Writes the same bytes again and again, many copies at once: what the port takes is the limit. */
static void flood(int fd, const void* bytes, size_t size) {
  static uint8_t many[1 << 15];
  size_t used = 0;
  for (; used + size <= sizeof many; used += size) memcpy(many + used, bytes, size);
  for (;;)
    if (write(fd, many, used) < 0) perror("odd guest");
}

static void flood_frames(int channel, uint8_t type, uint16_t part, uint32_t stream, const void* payload,
                         uint32_t length) {
  uint8_t frame[NANOBOX_FRAME_HEADER + 64];
  memcpy(frame + NANOBOX_FRAME_HEADER, payload, length);
  nanobox_put_header(frame, type, 0, part, stream, payload, length);
  flood(channel, frame, NANOBOX_FRAME_HEADER + length);
}

/* Breaks the rule that is named as the command to run. */
static void be_hostile(int channel, int console, uint32_t stream, const char* rule) {
  static const uint8_t zeros[32768 - NANOBOX_FRAME_HEADER]; /* what the port takes in one write */
  uint8_t credit[10], *end = put(credit, NANOBOX_TAG_CREDIT, 4, zeros);
  const uint32_t credit_size = (uint32_t)(end - credit);
  if (strcmp(rule, "unopened")) send_frame(channel, NANOBOX_OPENED, 0, 0, stream, "", 0);
  if (!strcmp(rule, "twice")) send_frame(channel, NANOBOX_OPENED, 0, 0, stream, "", 0);
  if (!strcmp(rule, "over"))
    for (int i = 0; i < 4096; ++i)
      send_frame(channel, NANOBOX_DATA, 0, NANOBOX_PART_STDOUT, stream, zeros, sizeof zeros);
  if (!strcmp(rule, "foreign")) send_frame(channel, NANOBOX_DATA, 0, NANOBOX_PART_STDOUT, stream + 1000, "x", 1);
  if (!strcmp(rule, "long")) {
    uint8_t header[NANOBOX_FRAME_HEADER];
    nanobox_put_header(header, NANOBOX_DATA, 0, NANOBOX_PART_STDOUT, stream, "", 0);
    nanobox_put32(header + 8, 0xFFFFFFF0);
    flood(channel, header, sizeof header);
  }
  if (!strcmp(rule, "generous")) {
    nanobox_put32(credit + 6, 0x7FFFFFFF);
    send_frame(channel, NANOBOX_WINDOW, 0, NANOBOX_PART_STDIN, stream, credit, credit_size);
  }
  if (!strcmp(rule, "noise")) flood(channel, "no frames at all", 16);
  if (!strcmp(rule, "empty")) flood_frames(channel, NANOBOX_DATA, NANOBOX_PART_STDOUT, stream, "", 0);
  if (!strcmp(rule, "gaps")) flood_frames(channel, NANOBOX_GAP, NANOBOX_PART_STDOUT, stream, "", 0);
  if (!strcmp(rule, "pongs")) flood_frames(channel, NANOBOX_PONG, 0, 0, "", 0);
  if (!strcmp(rule, "windows")) flood_frames(channel, NANOBOX_WINDOW, NANOBOX_PART_STDIN, stream, credit, credit_size);
  if (!strcmp(rule, "dead")) flood_frames(channel, NANOBOX_DATA, NANOBOX_PART_STDOUT, 1, "x", 1);
  if (!strcmp(rule, "console")) flood(console, "console ", 8);
  if (!strcmp(rule, "deaf"))
    for (;;) pause();
  if (!strcmp(rule, "drops"))
    for (int i = 0; i < NANOBOX_INITIAL_CREDIT / (1 + NANOBOX_DATA_COST); ++i)
      send_frame(channel, NANOBOX_DATA, 0, i % 2 ? NANOBOX_PART_STDERR : NANOBOX_PART_STDOUT, stream, "x", 1);
}

/* The first argument of a command that is to run, or "". */
static const char* command_in(const uint8_t* payload, uint32_t length) {
  static char command[32];
  command[0] = 0;
  for (uint32_t at = 0; at + 6 <= length; at += 6 + nanobox_get32(payload + at + 2)) {
    if (nanobox_get16(payload + at) != NANOBOX_TAG_ARG) continue;
    snprintf(command, sizeof command, "%.*s", (int)nanobox_get32(payload + at + 2), payload + at + 6);
    break;
  }
  return command;
}

static void serve(int channel, int console, uint8_t type, uint32_t stream, const uint8_t* payload, uint32_t length) {
  if (type == NANOBOX_CONFIGURE) send_frame(channel, type, 0, 0, 0, "", 0);
  if (type != NANOBOX_OPEN) return;
#ifdef HASTY
  be_hasty(channel, stream);
#endif
  be_hostile(channel, console, stream, command_in(payload, length));
}

/* Every HELLO is answered; what else comes a mute guest reads and forgets. */
static void answer(int channel, int console) {
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
#ifndef MUTE
      serve(channel, console, bytes[0], nanobox_get32(bytes + 4), payload, length);
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
  answer(channel, console);
}
