/* An init that only moves bytes: what the guest channel's port carries without a protocol. A host writes a letter and a
 * u64 count: 'r' is answered by so many bytes, for 'w' so many are read and a byte is answered. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

enum { PIECE = 32768 }; /* what the port takes in one write */

static uint8_t piece[1 << 20];

static int open_channel(void) {
  for (int device = 0; device < 8; ++device) {
    char path[32];
    snprintf(path, sizeof path, "/dev/vport%dp1", device);
    const int channel = open(path, O_RDWR);
    if (channel >= 0) return channel;
  }
  return -1;
}

static void take(int channel, void* bytes, size_t size) {
  for (size_t got = 0; got < size;) {
    const ssize_t count = read(channel, (uint8_t*)bytes + got, size - got);
    if (count > 0) got += (size_t)count;
    if (count <= 0) usleep(1000); /* no host yet */
  }
}

int main(void) {
  mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
  const int channel = open_channel();
  dprintf(open("/dev/console", O_RDWR), "NANOBOX_READY\n");
  for (;;) {
    uint8_t order[9];
    uint64_t count;
    take(channel, order, sizeof order);
    memcpy(&count, order + 1, sizeof count);
    while (count > 0) {
      const size_t most = order[0] == 'r' ? PIECE : sizeof piece;
      const size_t wanted = count < most ? count : most;
      const ssize_t moved = order[0] == 'r' ? write(channel, piece, wanted) : read(channel, piece, wanted);
      if (moved > 0) count -= (uint64_t)moved;
    }
    if (order[0] == 'w' && write(channel, "k", 1) < 0) perror("pump");
  }
}
