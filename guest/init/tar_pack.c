#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../protocol.h"
#include "tar.h"

#define DEPTH_MAX 2048
#define BUCKETS 4096

/* The first name of a file that has several. */
struct linked {
  struct linked* next;
  ino_t inode;
  char name[];
};

struct pack {
  FILE* out;
  dev_t device;
  struct tar_problem* problem;
  struct linked* linked[BUCKETS];
  struct tar_entry entry;
};

static bool refuse(struct pack* pack, int number) {
  *pack->problem = (struct tar_problem){.reason = NANOBOX_REASON_FILE, .number = number};
  snprintf(pack->problem->text, sizeof pack->problem->text, "%.300s: %s", pack->entry.name, strerror(number));
  return false;
}

static bool put(struct pack* pack, const void* bytes, size_t size) {
  return fwrite(bytes, 1, size, pack->out) == size || refuse(pack, errno);
}

static bool put_header(struct pack* pack) {
  static uint8_t bytes[TAR_HEADER_MAX];
  return put(pack, bytes, tar_header(&pack->entry, bytes));
}

/* The name under which the file was packed before, or NULL: this one is remembered then. */
static const char* known_as(struct pack* pack, ino_t inode) {
  struct linked** bucket = &pack->linked[inode % BUCKETS];
  for (const struct linked* linked = *bucket; linked; linked = linked->next)
    if (linked->inode == inode) return linked->name;
  const size_t size = strlen(pack->entry.name) + 1;
  struct linked* linked = malloc(sizeof *linked + size);
  if (!linked) return NULL; /* packed twice then */
  linked->next = *bucket;
  linked->inode = inode;
  memcpy(linked->name, pack->entry.name, size);
  *bucket = linked;
  return NULL;
}

/* A file that shrinks meanwhile is filled up with zeros, one that grows is cut. */
static bool put_file(struct pack* pack, int fd) {
  static uint8_t piece[256 * 1024];
  uint64_t left = pack->entry.size;
  if (!put_header(pack)) return false;
  while (left > 0) {
    const size_t most = left < sizeof piece ? (size_t)left : sizeof piece;
    const ssize_t count = read(fd, piece, most);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return refuse(pack, errno);
    if (count == 0) break;
    if (!put(pack, piece, (size_t)count)) return false;
    left -= (uint64_t)count;
  }
  memset(piece, 0, sizeof piece);
  for (left += -pack->entry.size % TAR_BLOCK; left > 0;) {
    const size_t most = left < sizeof piece ? (size_t)left : sizeof piece;
    if (!put(pack, piece, most)) return false;
    left -= most;
  }
  return true;
}

static bool pack_regular(struct pack* pack, int folder, const char* name) {
  struct tar_entry* entry = &pack->entry;
  struct stat file;
  const int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT || errno == ELOOP || errno == ENXIO || refuse(pack, errno);
  if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) { /* replaced meanwhile */
    close(fd);
    return true;
  }
  const char* before = file.st_nlink > 1 ? known_as(pack, file.st_ino) : NULL;
  entry->type = before ? TAR_HARD_LINK : TAR_FILE;
  entry->size = before ? 0 : (uint64_t)file.st_size;
  if (before) strcpy(entry->link, before);
  const bool packed = before ? put_header(pack) : put_file(pack, fd);
  close(fd);
  return packed;
}

static void describe(struct tar_entry* entry, const struct stat* file) {
  entry->mode = file->st_mode & 07777;
  entry->uid = file->st_uid;
  entry->gid = file->st_gid;
  entry->mtime = file->st_mtim.tv_sec;
  entry->size = 0;
  entry->link[0] = 0;
  entry->major = entry->minor = 0;
}

static bool pack_folder(struct pack* pack, int fd, size_t length, unsigned depth);

/* `length`: of the entry's name, which ends in this one's. */
static bool pack_one(struct pack* pack, int folder, const char* name, size_t length, unsigned depth) {
  struct tar_entry* entry = &pack->entry;
  struct stat file;
  if (fstatat(folder, name, &file, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT || refuse(pack, errno);
  describe(entry, &file);
  switch (file.st_mode & S_IFMT) {
    case S_IFREG:
      return pack_regular(pack, folder, name);
    case S_IFLNK: {
      const ssize_t size = readlinkat(folder, name, entry->link, TAR_NAME_MAX);
      if (size < 0) return errno == ENOENT || errno == EINVAL || refuse(pack, errno);
      entry->link[size] = 0;
      entry->type = TAR_SYMLINK;
      return put_header(pack);
    }
    case S_IFDIR: {
      if (length == TAR_NAME_MAX) return refuse(pack, ENAMETOOLONG);
      strcpy(entry->name + length, "/");
      entry->type = TAR_FOLDER;
      if (!put_header(pack)) return false;
      if (file.st_dev != pack->device) return true;
      const int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (fd < 0) return errno == ENOENT || errno == ENOTDIR || refuse(pack, errno);
      return pack_folder(pack, fd, length + 1, depth + 1);
    }
    case S_IFCHR:
    case S_IFBLK:
      entry->type = S_ISCHR(file.st_mode) ? TAR_CHARACTER : TAR_BLOCK_DEVICE;
      entry->major = major(file.st_rdev);
      entry->minor = minor(file.st_rdev);
      return put_header(pack);
    case S_IFIFO:
      entry->type = TAR_FIFO;
      return put_header(pack);
    default:
      return true; /* no tar archive holds sockets */
  }
}

/* Takes `fd`. `length`: of the entry's name so far. */
static bool pack_folder(struct pack* pack, int fd, size_t length, unsigned depth) {
  DIR* folder = depth < DEPTH_MAX ? fdopendir(fd) : NULL;
  if (!folder) {
    close(fd);
    return refuse(pack, depth < DEPTH_MAX ? errno : ELOOP);
  }
  bool packed = true;
  const struct dirent* entry;
  while (packed && (errno = 0, entry = readdir(folder))) {
    const char* name = entry->d_name;
    const size_t size = strlen(name);
    if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
    if (length + size > TAR_NAME_MAX) {
      packed = refuse(pack, ENAMETOOLONG);
      break;
    }
    memcpy(pack->entry.name + length, name, size + 1);
    packed = pack_one(pack, fd, name, length + size, depth);
  }
  if (packed && errno) packed = refuse(pack, errno);
  closedir(folder);
  return packed;
}

bool tar_pack(int folder, int out, struct tar_problem* problem) {
  static struct pack pack;
  static const uint8_t end[2 * TAR_BLOCK];
  struct stat file;
  pack = (struct pack){.out = fdopen(out, "w"), .problem = problem, .entry = {.name = "./", .type = TAR_FOLDER}};
  if (!pack.out || fstat(folder, &file) != 0) {
    close(folder);
    return refuse(&pack, errno);
  }
  setvbuf(pack.out, NULL, _IOFBF, 65536);
  pack.device = file.st_dev;
  describe(&pack.entry, &file);
  bool packed = put_header(&pack) && pack_folder(&pack, folder, 2, 0) && put(&pack, end, sizeof end);
  if (fclose(pack.out) != 0 && packed) packed = refuse(&pack, errno);
  for (size_t i = 0; i < BUCKETS; ++i)
    for (struct linked *linked = pack.linked[i], *next; linked; linked = next) {
      next = linked->next;
      free(linked);
    }
  return packed;
}
