/* Preloaded into a VMM whose guest memory is one file (NANOBOX_PRIVATE_MEMORY): the VMM maps it shared and believes
 * so, which keeps the memory out of its saved state; here the mapping becomes private and the descriptor read-only.
 * Only the file's data is mapped; its holes are anonymous memory, for on tmpfs a private write to a hole would
 * allocate the shared page as well. What cannot be made private ends the process. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_RUNS 256

static dev_t memory_device;
static ino_t memory_inode;

static void die(const char* why) {
  static const char name[] = "nanobox private memory: ";
  if (write(2, name, sizeof name - 1) < 0 || write(2, why, strlen(why)) < 0 || write(2, "\n", 1) < 0) _exit(125);
  _exit(125);
}

__attribute__((constructor)) static void remember_the_file(void) {
  const char* path = getenv("NANOBOX_PRIVATE_MEMORY");
  struct stat file;
  if (!path || stat(path, &file) != 0) die("the guest's memory file is not there");
  memory_device = file.st_dev;
  memory_inode = file.st_ino;
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
