#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <linux/random.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <poll.h>
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
#define RESIZE_PATIENCE_MS 2000
/* Where there are no events to wait for. */
#define RESIZE_LOOK_MS 20

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

static void write_setting(const char* path, const char* value) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return; /* a kernel that cannot do it anyway */
  if (write(fd, value, strlen(value)) < 0) say("nanobox-init: cannot set %s: %s", path, strerror(errno));
  close(fd);
}

/* Hundreds of idle machines share a host: this one does not wake up to look whether there is something to tidy. */
void let_sleep(void) {
  write_setting("/proc/sys/vm/compaction_proactiveness", "0"); /* twice a second */
  write_setting("/proc/sys/vm/stat_interval", "30");           /* each second */
}

static int bring_up(int fd, const char* name) {
  struct ifreq request = {0};
  strcpy(request.ifr_name, name);
  if (ioctl(fd, SIOCGIFFLAGS, &request) != 0) return -1;
  request.ifr_flags |= IFF_UP | IFF_RUNNING;
  return ioctl(fd, SIOCSIFFLAGS, &request);
}

static struct sockaddr inet_address(const char* text) {
  struct sockaddr_in in = {.sin_family = AF_INET};
  struct sockaddr address;
  inet_pton(AF_INET, text, &in.sin_addr);
  memcpy(&address, &in, sizeof address);
  return address;
}

/* The same in every machine: a copy wakes up with a right address, and the host maps it to one of its own. */
static void bring_interface_up(int fd) {
  struct ifreq request = {.ifr_name = "eth0"};
  if (ioctl(fd, SIOCGIFINDEX, &request) != 0) return; /* a machine without one */
  write_setting("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
  request.ifr_addr = inet_address(NANOBOX_GUEST_ADDRESS);
  if (ioctl(fd, SIOCSIFADDR, &request) == 0) {
    request.ifr_netmask = inet_address(NANOBOX_GUEST_NETMASK);
    ioctl(fd, SIOCSIFNETMASK, &request);
  }
  struct rtentry route = {.rt_dst = inet_address("0.0.0.0"),
                          .rt_genmask = inet_address("0.0.0.0"),
                          .rt_gateway = inet_address(NANOBOX_GATEWAY_ADDRESS),
                          .rt_flags = RTF_UP | RTF_GATEWAY};
  if (bring_up(fd, "eth0") != 0 || ioctl(fd, SIOCADDRT, &route) != 0)
    say("nanobox-init: cannot bring eth0 up: %s", strerror(errno));
}

void bring_network_up(void) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  bring_up(fd, "lo");
  bring_interface_up(fd);
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
  if (fd < 0 || ioctl(fd, (int)RNDADDENTROPY, pool) != 0)
    say("nanobox-init: cannot add entropy: %s", strerror(errno));
  else if (ioctl(fd, (int)RNDRESEEDCRNG) != 0)
    say("nanobox-init: cannot reseed the random numbers: %s", strerror(errno));
  if (fd >= 0) close(fd);
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
  /* A message takes its time: it may seem ahead that is not, but what is behind is. A machine that was saved stood
     still. Back it goes only if it is far off: a slew of 500 ppm would take more than a quarter of an hour. */
  if (behind > 5000000 || behind < -500000000) {
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

static uint64_t device_bytes(int device) {
  uint64_t bytes = 0;
  return ioctl(device, (int)BLKGETSIZE64, &bytes) == 0 ? bytes : 0;
}

/* The kernel hears of a device's new size by an interrupt, and tells of it by an event. */
static void await_size(int device, uint64_t wanted) {
  const uint64_t until = now_ms() + RESIZE_PATIENCE_MS;
  const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK, .nl_groups = 1};
  int events = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
  if (events >= 0 && bind(events, (const struct sockaddr*)&kernel, sizeof kernel) != 0) {
    close(events);
    events = -1;
  }
  for (uint64_t now; device_bytes(device) < wanted && (now = now_ms()) < until;) {
    const int left = (int)(until - now);
    struct pollfd change = {.fd = events, .events = POLLIN};
    poll(&change, 1, events < 0 && left > RESIZE_LOOK_MS ? RESIZE_LOOK_MS : left);
    char event[4096];
    while (events >= 0 && recv(events, event, sizeof event, 0) >= 0) {
    }
  }
  if (events >= 0) close(events);
}

/* Bytes of the mounted file system, as its superblock has them in memory; 0: it is no ext4. What statfs tells leaves
 * its own metadata out. */
static uint64_t ext4_bytes(int device) {
  uint8_t block[1024];
  if (pread(device, block, sizeof block, 1024) != sizeof block || nanobox_get16(block + 56) != 0xEF53) return 0;
  const uint64_t blocks = nanobox_get32(block + 4) | (uint64_t)nanobox_get32(block + 336) << 32;
  return blocks << (10 + (nanobox_get32(block + 24) & 15));
}

void grow_root(uint64_t disk_bytes) {
  const uint64_t wanted = disk_bytes / 512 * 512;
  struct statfs root;
  const int device = open("/dev/vda", O_RDONLY | O_CLOEXEC);
  if (device < 0) return;
  if (device_bytes(device) < wanted) await_size(device, wanted);
  const uint64_t bytes = device_bytes(device), grown = ext4_bytes(device);
  close(device);
  if (bytes < wanted)
    say("nanobox-init: the disk has %llu bytes and did not grow to %llu in time", (unsigned long long)bytes,
        (unsigned long long)disk_bytes);
  if (statfs("/", &root) != 0 || root.f_bsize <= 0) return;
  uint64_t blocks = bytes / (uint64_t)root.f_bsize;
  /* To ask for the size it has would flush its journal all the same. */
  if (blocks <= (grown ? grown / (uint64_t)root.f_bsize : root.f_blocks)) return;
  const int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  if (ioctl(fd, (int)EXT4_IOC_RESIZE_FS, &blocks) != 0) say("nanobox-init: cannot grow the root: %s", strerror(errno));
  close(fd);
}

/* The regular file at that path for reading and writing; its status in `file`. */
static int open_regular(const char* path, mode_t mode, struct stat* file) {
  const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  int fd = open(path, flags, mode);
  if (fd >= 0 && fstat(fd, file) == 0 && S_ISREG(file->st_mode)) return fd;
  /* Images may have a dangling link here (systemd's resolv.conf). */
  if (fd >= 0) close(fd);
  if (unlink(path) != 0) return -1;
  *file = (struct stat){0};
  return open(path, flags | O_EXCL, mode);
}

bool put_text(const char* path, const char* text, mode_t mode) {
  char old[1024];
  struct stat file;
  const size_t size = strlen(text);
  const int fd = open_regular(path, mode, &file);
  if (fd < 0) return false;
  const bool comparable = (size_t)file.st_size == size && size <= sizeof old;
  bool done = comparable && pread(fd, old, size, 0) == (ssize_t)size && memcmp(old, text, size) == 0;
  if (!done) /* over what is there: a file cut to nothing first is written to the disk when it is closed */
    done =
        pwrite(fd, text, size, 0) == (ssize_t)size && ((size_t)file.st_size <= size || ftruncate(fd, (off_t)size) == 0);
  const int problem = errno;
  close(fd);
  errno = problem;
  return done;
}

void end_machine(void) {
  sync();
  reboot(RB_AUTOBOOT); /* a machine without ACPI cannot power off; the VMM turns this into an exit */
  for (;;) pause();
}
