/* The smallest guest the VMM's tests need: says NANOBOX_READY, then obeys single lines on the channel.
 * echo TEXT · flood BYTES · write TEXT, read (a file on the root) · fill MIB (of it) · dirty MIB · panic · reboot */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

static int channel;

static void put(const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t sent = write(channel, bytes, count);
    if (sent <= 0) {
      usleep(1000);
      continue;
    }
    bytes += sent;
    count -= (size_t)sent;
  }
}

static void flood(size_t bytes) {
  static char block[65536];
  memset(block, 'f', sizeof block);
  for (; bytes > sizeof block; bytes -= sizeof block) put(block, sizeof block);
  put(block, bytes);
}

static void obey(char* line) {
  char* argument = strchr(line, ' ');
  argument = argument ? argument + 1 : line + strlen(line);
  if (!strncmp(line, "echo ", 5)) {
    put(argument, strlen(argument));
    put("\n", 1);
  } else if (!strncmp(line, "flood ", 6)) {
    flood(strtoul(argument, NULL, 10));
  } else if (!strncmp(line, "write ", 6)) {
    const int file = open("/kept", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (write(file, argument, strlen(argument)) < 0 || fsync(file) || close(file)) put("failed\n", 7);
    put("written\n", 8);
  } else if (!strcmp(line, "read")) {
    char text[256] = "nothing";
    const int file = open("/kept", O_RDONLY);
    ssize_t count = file < 0 ? 7 : read(file, text, sizeof text);
    put(text, (size_t)(count < 0 ? 0 : count));
    put("\n", 1);
  } else if (!strncmp(line, "dirty ", 6)) {
    const size_t bytes = strtoul(argument, NULL, 10) << 20;
    char* memory = malloc(bytes);
    if (memory) memset(memory, 0x5A, bytes);
    put("dirtied\n", 8);
  } else if (!strncmp(line, "fill ", 5)) {
    static char block[1 << 20];
    memset(block, 0x5A, sizeof block);
    const int file = open("/full", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    for (unsigned long mib = strtoul(argument, NULL, 10); mib > 0; --mib)
      if (write(file, block, sizeof block) < 0) break;
    put(fsync(file) ? "failed\n" : "filled\n", 7);
    close(file);
  } else if (!strcmp(line, "panic")) {
    exit(0); /* PID 1 ended */
  } else if (!strcmp(line, "reboot")) {
    sync();
    reboot(RB_AUTOBOOT);
  }
}

int main(void) {
  mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
  const int console = open("/dev/console", O_RDWR);
  dup2(console, 0);
  dup2(console, 1);
  dup2(console, 2);
  channel = open("/dev/vport0p1", O_RDWR);
  if (channel < 0) channel = open("/dev/vport1p1", O_RDWR);
  if (channel < 0) channel = open("/dev/vport2p1", O_RDWR);
  printf("NANOBOX_READY channel %d\n", channel);
  fflush(stdout);
  static char line[4096];
  for (size_t used = 0;;) {
    char byte;
    if (read(channel, &byte, 1) != 1) {
      usleep(2000); /* no host: the kernel offers nothing to wait for */
      continue;
    }
    if (byte != '\n') {
      if (used < sizeof line - 1) line[used++] = byte;
      continue;
    }
    line[used] = 0;
    used = 0;
    obey(line);
  }
}
