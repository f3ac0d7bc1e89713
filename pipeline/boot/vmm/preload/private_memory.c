/* Preloaded into a VMM whose guest memory is one file (NANOBOX_PRIVATE_MEMORY): the VMM maps it shared and believes
 * so, which keeps the memory out of its saved state; here the mapping becomes private and the descriptor read-only.
 * Only the file's data is mapped; its holes are anonymous memory, for on tmpfs a private write to a hole would
 * allocate the shared page as well. What cannot be made private ends the process.
 * A VMM that was started empty takes memory layers later, on the socket NANOBOX_MEMORY_LAYERS_FD (layer_sender.hpp). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pipeline/boot/memory/memory_layer_format.h"

#define MAX_RUNS 256

static dev_t memory_device;
static ino_t memory_inode;
/* Where the file was mapped; the address is written last, for the thread of the layers. */
static char* guest_memory;
static size_t guest_memory_bytes;
static int guest_memory_maps;

static void die(const char* why) {
  static const char name[] = "nanobox private memory: ";
  if (write(2, name, sizeof name - 1) < 0 || write(2, why, strlen(why)) < 0 || write(2, "\n", 1) < 0) _exit(125);
  _exit(125);
}

static void take_layers_from(const char* descriptor);

__attribute__((constructor)) static void start(void) {
  const char* path = getenv("NANOBOX_PRIVATE_MEMORY");
  const char* layers = getenv("NANOBOX_MEMORY_LAYERS_FD");
  struct stat file;
  if (!path || stat(path, &file) != 0) die("the guest's memory file is not there");
  memory_device = file.st_dev;
  memory_inode = file.st_ino;
  if (layers) take_layers_from(layers);
}

static int is_the_file(const struct stat* file) {
  return memory_inode != 0 && file->st_dev == memory_device && file->st_ino == memory_inode;
}

static void* map(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  return (void*)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

static void* map_privately(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  const off_t page = sysconf(_SC_PAGESIZE);
  const off_t end = offset + (off_t)length;
  flags = (flags & ~(MAP_TYPE | MAP_SYNC)) | MAP_PRIVATE | MAP_NORESERVE;
  char* base = map(address, length, protection, flags | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return base;
  off_t at = offset;
  for (int run = 1; at < end; ++run) {
    off_t data = lseek(fd, at, SEEK_DATA);
    if (data < 0) {
      if (errno == ENXIO) break; /* only a hole is left */
      data = at;                 /* this file system knows no holes */
      run = MAX_RUNS;
    }
    if (data >= end) break;
    data -= data % page;
    off_t hole = run == MAX_RUNS ? end : lseek(fd, data, SEEK_HOLE);
    if (hole < 0 || hole > end) hole = end;
    hole += (page - hole % page) % page;
    if (map(base + (data - offset), (size_t)(hole - data), protection, (flags & ~MAP_FIXED_NOREPLACE) | MAP_FIXED, fd,
            data) == MAP_FAILED)
      die("the guest's memory file cannot be mapped");
    at = hole;
  }
  guest_memory_bytes = length;
  if (__atomic_add_fetch(&guest_memory_maps, offset == 0 ? 1 : 2, __ATOMIC_RELAXED) == 1)
    __atomic_store_n(&guest_memory, base, __ATOMIC_RELEASE);
  return base;
}

void* mmap64(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  struct stat file;
  const int type = flags & MAP_TYPE;
  if ((type == MAP_SHARED || type == MAP_SHARED_VALIDATE) && fd >= 0 && !(flags & MAP_ANONYMOUS)) {
    if (fstat(fd, &file) != 0) die("a mapped file cannot be looked at");
    if (is_the_file(&file)) return map_privately(address, length, protection, flags, fd, offset);
  }
  return map(address, length, protection, flags, fd, offset);
}

void* mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  return mmap64(address, length, protection, flags, fd, offset);
}

/* An emulated guest's translated code is to have huge pages, of which each VMM would fill the last to a part. */
int madvise(void* address, size_t length, int advice) {
  const char* memory = __atomic_load_n(&guest_memory, __ATOMIC_ACQUIRE);
  const char* at = address;
  const int is_guest = memory && at >= memory && at < memory + guest_memory_bytes;
  if (advice == MADV_HUGEPAGE && !is_guest) advice = MADV_NOHUGEPAGE;
  return (int)syscall(SYS_madvise, address, length, advice);
}

static int open_at(int folder, const char* path, int flags, mode_t mode) {
  struct stat file;
  if ((flags & O_ACCMODE) != O_RDONLY && fstatat(folder, path, &file, 0) == 0 && is_the_file(&file))
    flags &= ~(O_ACCMODE | O_CREAT | O_TRUNC);
  return (int)syscall(SYS_openat, folder, path, flags, mode);
}

static mode_t mode_of(int flags, va_list arguments) {
  return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

#define DEFINE_OPEN(name)                          \
  int name(const char* path, int flags, ...) {     \
    va_list arguments;                             \
    va_start(arguments, flags);                    \
    const mode_t mode = mode_of(flags, arguments); \
    va_end(arguments);                             \
    return open_at(AT_FDCWD, path, flags, mode);   \
  }
#define DEFINE_OPENAT(name)                                \
  int name(int folder, const char* path, int flags, ...) { \
    va_list arguments;                                     \
    va_start(arguments, flags);                            \
    const mode_t mode = mode_of(flags, arguments);         \
    va_end(arguments);                                     \
    return open_at(folder, path, flags, mode);             \
  }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

int __open_2(const char* path, int flags);
int __open64_2(const char* path, int flags);
int __open_2(const char* path, int flags) {
  return open_at(AT_FDCWD, path, flags, 0);
}
int __open64_2(const char* path, int flags) {
  return open_at(AT_FDCWD, path, flags, 0);
}

/* Reads all of it: a cut file is an error. */
static int read_at(int fd, uint8_t* bytes, size_t size, off_t offset) {
  while (size > 0) {
    const ssize_t count = pread(fd, bytes, size, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return -1;
    bytes += count;
    size -= (size_t)count;
    offset += count;
  }
  return 0;
}

/* Maps a layer's pages over the guest's memory. Returns why it did not, then nothing has changed. */
static const char* apply_layer(int fd) {
  static uint8_t table[NANOBOX_LAYER_TABLE_MAX];
  uint8_t bytes[NANOBOX_LAYER_HEADER];
  struct nanobox_layer_header header;
  struct stat file;
  const char* reason;
  char* memory = __atomic_load_n(&guest_memory, __ATOMIC_ACQUIRE);
  if (!memory) return "the guest's memory is not mapped yet";
  if (__atomic_load_n(&guest_memory_maps, __ATOMIC_RELAXED) != 1) return "the guest's memory is mapped in parts";
  if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) return "the layer is no regular file";
  if (read_at(fd, bytes, sizeof bytes, 0) != 0) return "the layer is too short";
  if ((reason = nanobox_layer_read_header(bytes, (uint64_t)file.st_size, &header))) return reason;
  if (read_at(fd, table, header.runs * NANOBOX_LAYER_RUN, NANOBOX_LAYER_HEADER) != 0) return "the layer was cut";
  if ((reason = nanobox_layer_check_runs(&header, bytes, table))) return reason;
  if (header.memory_bytes != guest_memory_bytes) return "the layer is of another memory size";
  if (header.runs == 0) return NULL;

  /* A file that cannot be mapped at all is found here, where that changes nothing. */
  const int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_NORESERVE;
  uint64_t offset = nanobox_layer_pages_offset(&header);
  void* trial = map(NULL, NANOBOX_LAYER_PAGE, protection, flags, fd, (off_t)offset);
  if (trial == MAP_FAILED) return "the layer cannot be mapped";
  munmap(trial, NANOBOX_LAYER_PAGE);
  for (uint32_t run = 0; run < header.runs; ++run) {
    const uint64_t first = nanobox_get32(table + run * NANOBOX_LAYER_RUN);
    const uint64_t length = (uint64_t)nanobox_get32(table + run * NANOBOX_LAYER_RUN + 4) * NANOBOX_LAYER_PAGE;
    if (map(memory + first * NANOBOX_LAYER_PAGE, length, protection, flags | MAP_FIXED, fd, (off_t)offset) ==
        MAP_FAILED)
      die("a memory layer was mapped in part");
    offset += length;
  }
  return NULL;
}

/* Receives one packet. Returns its only descriptor, -1 for another packet, -2 when the other side is gone. */
static int receive_layer(int socket) {
  char packet[64];
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(2 * sizeof(int))];
  } control;
  struct iovec part = {packet, sizeof packet};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  ssize_t got;
  do got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got <= 0) return -2;
  int layer = -1, count = 0;
  for (struct cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = CMSG_LEN(0); at + sizeof(int) <= header->cmsg_len; at += sizeof(int)) {
      int descriptor;
      memcpy(&descriptor, (const char*)header + at, sizeof descriptor);
      if (count++ == 0) {
        layer = descriptor;
      } else {
        close(descriptor);
      }
    }
  }
  if (count == 1 && !(message.msg_flags & MSG_CTRUNC)) return layer;
  if (layer >= 0) close(layer);
  return -1;
}

static void* take_layers(void* argument) {
  const int socket = (int)(intptr_t)argument;
  for (;;) {
    const int layer = receive_layer(socket);
    if (layer == -2) break;
    const char* reason = layer < 0 ? "a packet must carry one layer" : apply_layer(layer);
    if (layer >= 0) close(layer);
    if (!reason) reason = "ok";
    if (send(socket, reason, strlen(reason), MSG_NOSIGNAL) < 0) break;
  }
  close(socket);
  malloc_trim(0); /* what its start took and gave back: it has all it will need */
  return NULL;
}

/* Before main: later the VMM's own filter of system calls is there. */
static void take_layers_from(const char* text) {
  char* end;
  const long number = strtol(text, &end, 10);
  int type = 0;
  socklen_t size = sizeof type;
  if (end == text || *end != '\0' || number < 0 || number > INT_MAX ||
      getsockopt((int)number, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET ||
      fcntl((int)number, F_SETFD, FD_CLOEXEC) != 0)
    die("NANOBOX_MEMORY_LAYERS_FD is no socket for layers");
  sigset_t all, before;
  pthread_attr_t attributes;
  pthread_t thread;
  sigfillset(&all);
  if (pthread_attr_init(&attributes) != 0 || pthread_attr_setstacksize(&attributes, 256 << 10) != 0 ||
      pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) != 0 ||
      pthread_sigmask(SIG_SETMASK, &all, &before) != 0 ||
      pthread_create(&thread, &attributes, take_layers, (void*)(intptr_t)number) != 0 ||
      pthread_sigmask(SIG_SETMASK, &before, NULL) != 0)
    die("no thread can be started for memory layers");
  pthread_attr_destroy(&attributes);
}
