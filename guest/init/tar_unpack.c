#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../protocol.h"
#include "new_file.h"
#include "tar.h"

/* A folder's attributes are set once nothing more is put into it. */
struct folder {
  uint32_t mode, uid, gid;
  struct timespec mtime;
  char* path;
};

struct unpack {
  int root;
  bool owns; /* root: owners are kept */
  struct tar_problem* problem;
  struct tar_reader reader;
  struct tar_entry entry;
  char parent_path[TAR_NAME_MAX + 1]; /* of the last entry, with `parent` */
  int parent;
  struct folder* folders;
  size_t folder_count, folder_room;
};

static bool refuse(struct unpack* unpack, int number) {
  *unpack->problem = (struct tar_problem){.reason = NANOBOX_REASON_FILE, .number = number};
  snprintf(unpack->problem->text, sizeof unpack->problem->text, "%.300s: %s", unpack->entry.name, strerror(number));
  return false;
}

static bool refuse_entry(struct unpack* unpack, const char* text) {
  *unpack->problem = (struct tar_problem){.reason = NANOBOX_REASON_ARCHIVE};
  snprintf(unpack->problem->text, sizeof unpack->problem->text, "%.300s: %s", unpack->entry.name, text);
  return false;
}

/* EXDEV is what the kernel says of a path that leads out of the folder. */
static bool refuse_path(struct unpack* unpack) {
  return errno == EXDEV ? refuse_entry(unpack, "it leads out of the folder") : refuse(unpack, errno);
}

static size_t read_input(void* context, uint8_t* bytes, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t count = read(*(const int*)context, bytes + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    done += (size_t)count;
  }
  return done;
}

/* Takes `./`, doubled and trailing slashes out of `name`; false where it could lead out of the folder. */
static bool clean(char* name) {
  char* to = name;
  if (*name == '/') return false;
  for (const char* from = name; *from;) {
    const size_t length = strcspn(from, "/");
    const bool nothing = length == 0 || (length == 1 && from[0] == '.');
    if (length == 2 && from[0] == '.' && from[1] == '.') return false;
    if (!nothing && to != name) *to++ = '/';
    if (!nothing) memmove(to, from, length);
    if (!nothing) to += length;
    from += length + (from[length] == '/');
  }
  *to = 0;
  return true;
}

static int open_beneath(int root, const char* path, uint64_t flags) {
  const struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
  return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof how);
}

/* Opens the folder, and makes it and those above where they are missing. -1 with errno */
static int open_folder(int root, const char* path) {
  int fd = open_beneath(root, path, O_PATH | O_DIRECTORY);
  if (fd >= 0 || errno != ENOENT) return fd;
  char above[TAR_NAME_MAX + 1];
  strcpy(above, path);
  char* slash = strrchr(above, '/');
  if (slash) *slash = 0;
  const int parent = open_folder(root, slash ? above : "");
  if (parent < 0) return -1;
  const int made = mkdirat(parent, slash ? slash + 1 : above, 0755);
  const int problem = errno;
  close(parent);
  errno = problem;
  return made == 0 ? open_beneath(root, path, O_PATH | O_DIRECTORY) : -1;
}

/* The folder of `path`, of which `*name` is the last part. It stays open until another is asked for. */
static int parent_of(struct unpack* unpack, char* path, char** name) {
  char* slash = strrchr(path, '/');
  const size_t length = slash ? (size_t)(slash - path) : 0;
  *name = slash ? slash + 1 : path;
  if (unpack->parent >= 0 && strlen(unpack->parent_path) == length && memcmp(unpack->parent_path, path, length) == 0)
    return unpack->parent;
  if (unpack->parent >= 0) close(unpack->parent);
  memcpy(unpack->parent_path, path, length);
  unpack->parent_path[length] = 0;
  return unpack->parent = open_folder(unpack->root, unpack->parent_path);
}

static bool remember_folder(struct unpack* unpack) {
  const struct tar_entry* entry = &unpack->entry;
  if (unpack->folder_count == unpack->folder_room) {
    const size_t room = unpack->folder_room ? 2 * unpack->folder_room : 64;
    struct folder* grown = realloc(unpack->folders, room * sizeof *grown);
    if (!grown) return refuse(unpack, ENOMEM);
    unpack->folders = grown;
    unpack->folder_room = room;
  }
  char* path = strdup(entry->name);
  if (!path) return refuse(unpack, ENOMEM);
  unpack->folders[unpack->folder_count++] = (struct folder){.mode = entry->mode,
                                                            .uid = entry->uid,
                                                            .gid = entry->gid,
                                                            .mtime = {entry->mtime, (long)entry->mtime_ns},
                                                            .path = path};
  return true;
}

static bool make_folder(struct unpack* unpack, int parent, const char* name) {
  if (mkdirat(parent, name, 0700) != 0) {
    if (errno != EEXIST) return refuse(unpack, errno);
    const int there = open_beneath(unpack->root, unpack->entry.name, O_PATH | O_DIRECTORY);
    if (there >= 0) {
      close(there);
    } else {
      if (errno == EXDEV) return refuse_path(unpack);
      if (unlinkat(parent, name, 0) != 0 || mkdirat(parent, name, 0700) != 0) return refuse(unpack, errno);
    }
  }
  return remember_folder(unpack);
}

/* All but the mode, which links have none of. */
static bool set_owner_and_time(struct unpack* unpack, int parent, const char* name) {
  const struct tar_entry* entry = &unpack->entry;
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {entry->mtime, (long)entry->mtime_ns}};
  if (unpack->owns && fchownat(parent, name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) != 0)
    return refuse(unpack, errno);
  return utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) == 0 || refuse(unpack, errno);
}

static bool write_data(struct unpack* unpack, int fd) {
  static uint8_t piece[256 * 1024];
  size_t count;
  while ((count = tar_data(&unpack->reader, piece, sizeof piece)) > 0)
    for (size_t done = 0; done < count;) {
      const ssize_t written = write(fd, piece + done, count - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return refuse(unpack, errno);
      done += (size_t)written;
    }
  return unpack->reader.left == 0 || refuse_entry(unpack, "the archive is cut off in the middle of it");
}

static bool make_file(struct unpack* unpack, int parent, const char* name) {
  const struct tar_entry* entry = &unpack->entry;
  struct new_file file;
  if (!new_file_make(&file, parent)) return refuse(unpack, errno);
  bool made = write_data(unpack, file.fd);
  if (made) made = set_owner_and_time(unpack, parent, file.name);
  /* After the owner: that takes set-user-id away. */
  if (made && fchmod(file.fd, entry->mode) != 0) made = refuse(unpack, errno);
  if (!made) {
    new_file_drop(&file);
    return false;
  }
  return new_file_publish(&file, name) || refuse(unpack, errno);
}

static bool make_hard_link(struct unpack* unpack, int parent, const char* name) {
  char target[TAR_NAME_MAX + 1], *target_name;
  strcpy(target, unpack->entry.link);
  if (!clean(target) || !*target) return refuse_entry(unpack, "it links to what is out of the folder");
  char* slash = strrchr(target, '/');
  target_name = slash ? slash + 1 : target;
  if (slash) *slash = 0;
  const int folder = open_beneath(unpack->root, slash ? target : "", O_PATH | O_DIRECTORY);
  if (folder < 0) return refuse_path(unpack);
  const bool made = linkat(folder, target_name, parent, name, 0) == 0;
  const int problem = errno;
  close(folder);
  return made || refuse(unpack, problem);
}

static bool make_other(struct unpack* unpack, int parent, const char* name) {
  const struct tar_entry* entry = &unpack->entry;
  int made;
  if (entry->type == TAR_SYMLINK) {
    made = symlinkat(entry->link, parent, name);
  } else {
    const mode_t type = entry->type == TAR_FIFO ? S_IFIFO : entry->type == TAR_CHARACTER ? S_IFCHR : S_IFBLK;
    made = mknodat(parent, name, type | 0600, makedev(entry->major, entry->minor));
  }
  if (made != 0) return refuse(unpack, errno);
  if (!set_owner_and_time(unpack, parent, name)) return false;
  return entry->type == TAR_SYMLINK || fchmodat(parent, name, entry->mode, 0) == 0 || refuse(unpack, errno);
}

static bool make_entry(struct unpack* unpack, bool made) {
  struct tar_entry* entry = &unpack->entry;
  char *name, path[TAR_NAME_MAX + 1];
  if (!clean(entry->name)) return refuse_entry(unpack, "its name leads out of the folder");
  if (!*entry->name) {
    if (entry->type != TAR_FOLDER) return refuse_entry(unpack, "it has no name");
    return !made || remember_folder(unpack);
  }
  strcpy(path, entry->name);
  const int parent = parent_of(unpack, path, &name);
  if (parent < 0) return refuse_path(unpack);
  if (entry->type == TAR_FOLDER) return make_folder(unpack, parent, name);
  if (entry->type == TAR_FILE) return make_file(unpack, parent, name);
  if (entry->type == TAR_HARD_LINK) {
    char target[TAR_NAME_MAX + 1];
    strcpy(target, entry->link);
    if (clean(target) && !strcmp(target, entry->name)) return true; /* a link to itself */
  }
  if (unlinkat(parent, name, 0) != 0 && errno != ENOENT) return refuse(unpack, errno);
  return entry->type == TAR_HARD_LINK ? make_hard_link(unpack, parent, name) : make_other(unpack, parent, name);
}

static bool finish_folders(struct unpack* unpack) {
  while (unpack->folder_count > 0) {
    const struct folder* folder = &unpack->folders[--unpack->folder_count];
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, folder->mtime};
    snprintf(unpack->entry.name, sizeof unpack->entry.name, "%s", folder->path);
    const int fd = open_beneath(unpack->root, folder->path, O_RDONLY | O_DIRECTORY);
    bool done = fd >= 0 && (!unpack->owns || fchown(fd, folder->uid, folder->gid) == 0) &&
                fchmod(fd, folder->mode) == 0 && futimens(fd, times) == 0;
    if (!done) refuse(unpack, errno);
    /* A folder that was there before may belong to somebody else. */
    if (!done && errno == EPERM && !unpack->owns) done = true;
    if (fd >= 0) close(fd);
    free(folder->path);
    if (!done) return false;
  }
  return true;
}

bool tar_unpack(int folder, int in, bool made, struct tar_problem* problem) {
  static struct unpack unpack;
  unpack = (struct unpack){.root = folder,
                           .owns = geteuid() == 0,
                           .problem = problem,
                           .reader = {.read = read_input, .context = &in},
                           .parent = -1};
  int more;
  bool unpacked = true;
  while (unpacked && (more = tar_next(&unpack.reader, &unpack.entry, problem)) > 0)
    unpacked = make_entry(&unpack, made);
  unpacked = unpacked && more == 0 && finish_folders(&unpack);
  uint8_t rest[4096];
  while (unpacked && read_input(&in, rest, sizeof rest) > 0) {
  }
  while (unpack.folder_count > 0) free(unpack.folders[--unpack.folder_count].path);
  free(unpack.folders);
  if (unpack.parent >= 0) close(unpack.parent);
  close(folder);
  return unpacked;
}
