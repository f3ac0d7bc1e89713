#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)
#ifndef RNDRESEEDCRNG
#define RNDRESEEDCRNG _IO('R', 0x07)
#endif

uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void mount_at(const char* type, const char* path, unsigned long flags, const char* options) {
  mkdir(path, 0755);
  if (mount(type, path, type, flags, options) != 0 && errno != EBUSY)
    say("nanobox-init: cannot mount %s: %s", path, strerror(errno));
}

void mount_file_systems(void) {
  const unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  mount_at("proc", "/proc", safe, NULL);
  mount_at("sysfs", "/sys", safe, NULL);
  mount_at("devtmpfs", "/dev", MS_NOSUID, "mode=0755");
  mount_at("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
  mount_at("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
  mount_at("mqueue", "/dev/mqueue", safe, NULL);
  mount_at("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755");
  mount_at("cgroup2", "/sys/fs/cgroup", safe, NULL);
  struct stat tmp;
  if (stat("/tmp", &tmp) != 0 || !S_ISDIR(tmp.st_mode)) mount_at("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777");
  symlink("/proc/self/fd", "/dev/fd");
  symlink("/proc/self/fd/0", "/dev/stdin");
  symlink("/proc/self/fd/1", "/dev/stdout");
  symlink("/proc/self/fd/2", "/dev/stderr");
}

void bring_loopback_up(void) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct ifreq request = {.ifr_name = "lo"};
  if (fd < 0) return;
  if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    ioctl(fd, SIOCSIFFLAGS, &request);
  }
  close(fd);
}

bool kernel_argument_is(const char* wanted) {
  char line[4096];
  FILE* file = fopen("/proc/cmdline", "re");
  bool found = false;
  if (file && fgets(line, sizeof line, file))
    for (char* word = strtok(line, " \n"); word && !found; word = strtok(NULL, " \n")) found = !strcmp(word, wanted);
  if (file) fclose(file);
  return found;
}

void add_entropy(const uint8_t* bytes, size_t size) {
  /* struct rand_pool_info: entropy_count in bits, buf_size in bytes, then the bytes (random(4)) */
  int pool[2 + NANOBOX_ENTROPY_BYTES / sizeof(int)] = {(int)size * 8, (int)size};
  if (size > NANOBOX_ENTROPY_BYTES || size == 0) return;
  memcpy(pool + 2, bytes, size);
  const int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  if (ioctl(fd, (int)RNDADDENTROPY, pool) != 0) say("nanobox-init: cannot add entropy: %s", strerror(errno));
  ioctl(fd, (int)RNDRESEEDCRNG);
  close(fd);
}

void take_device_entropy(void) {
  uint8_t bytes[NANOBOX_ENTROPY_BYTES];
  const int fd = open("/dev/hwrng", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return;
  const ssize_t count = read(fd, bytes, sizeof bytes);
  close(fd);
  if (count > 0) add_entropy(bytes, (size_t)count);
}

void set_clock(uint64_t nanoseconds) {
  const struct timespec time = {.tv_sec = (time_t)(nanoseconds / 1000000000),
                                .tv_nsec = (long)(nanoseconds % 1000000000)};
  if (clock_settime(CLOCK_REALTIME, &time) != 0) say("nanobox-init: cannot set the clock: %s", strerror(errno));
}

void follow_clock(uint64_t nanoseconds) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const int64_t behind = (int64_t)(nanoseconds - ((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec));
  if (nanoseconds == 0) return;
  if (behind > 500000000 || behind < -500000000) { /* a slew of 500 ppm would take more than a quarter of an hour */
    set_clock(nanoseconds);
    return;
  }
  struct timex change = {.modes = ADJ_OFFSET_SINGLESHOT, .offset = (long)(behind / 1000)};
  adjtimex(&change);
}

void read_memory(uint64_t* total_kb, uint64_t* available_kb) {
  char line[128];
  unsigned long long value;
  FILE* file = fopen("/proc/meminfo", "re");
  while (file && fgets(line, sizeof line, file)) {
    if (sscanf(line, "MemTotal: %llu", &value) == 1) *total_kb = value;
    if (sscanf(line, "MemAvailable: %llu", &value) == 1) *available_kb = value;
  }
  if (file) fclose(file);
}

void grow_root(void) {
  uint64_t device_bytes = 0;
  struct statfs root;
  const int device = open("/dev/vda", O_RDONLY | O_CLOEXEC);
  if (device < 0) return;
  const bool known = ioctl(device, (int)BLKGETSIZE64, &device_bytes) == 0;
  close(device);
  if (!known || statfs("/", &root) != 0 || root.f_bsize <= 0) return;
  uint64_t blocks = device_bytes / (uint64_t)root.f_bsize;
  if (blocks <= root.f_blocks) return;
  const int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  if (ioctl(fd, (int)EXT4_IOC_RESIZE_FS, &blocks) != 0) say("nanobox-init: cannot grow the root: %s", strerror(errno));
  close(fd);
}

bool write_text(const char* path, const char* text, mode_t mode) {
  /* Images may have a dangling link here (systemd's resolv.conf): replaced, never followed. */
  struct stat old;
  if (lstat(path, &old) == 0 && !S_ISREG(old.st_mode)) unlink(path);
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return false;
  size_t left = strlen(text);
  while (left > 0) {
    const ssize_t count = write(fd, text, left);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text += count;
    left -= (size_t)count;
  }
  const int problem = errno;
  close(fd);
  errno = problem;
  return left == 0;
}

void end_machine(void) {
  sync();
  reboot(RB_AUTOBOOT); /* a machine without ACPI cannot power off; the VMM turns this into an exit */
  for (;;) pause();
}
