#define _GNU_SOURCE
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "new_file.h"
#include "tar.h"

#define PIECE (256u * 1024)
#define LINKS_MAX 40
/* Folders in folders; a descriptor is held for each. */
#define DEPTH_MAX 4096

static uint8_t piece[PIECE];

/* Init gets a copy of `fd`, unless that is -1. */
static void report_with(uint8_t type, const struct tlv_writer* what, int fd) {
  struct iovec parts[2] = {{&type, 1}, {what ? what->bytes : NULL, what ? what->used : 0}};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof fd)];
  } control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  if (fd >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
  }
  sendmsg(REPORT_FD, &message, MSG_NOSIGNAL);
}

static void report(uint8_t type, const struct tlv_writer* what) {
  report_with(type, what, -1);
}

void report_opened(const struct tlv_writer* what) {
  report(NANOBOX_OPENED, what);
}

void report_done(void) {
  report(NANOBOX_EXIT, NULL);
  _exit(0);
}

void report_failure(uint32_t reason, int number, const char* format, ...) {
  char text[REPORT_MAX / 2];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  TLV_WRITER(what, REPORT_MAX - 1);
  tlv_put_u32(&what, NANOBOX_TAG_REASON, reason);
  if (number) tlv_put_u32(&what, NANOBOX_TAG_ERRNO, (uint32_t)number);
  tlv_put(&what, NANOBOX_TAG_TEXT, text, (uint32_t)strlen(text));
  report(NANOBOX_ERROR, &what);
  _exit(1);
}

static void fail(void) __attribute__((noreturn));
static void fail(void) {
  report_failure(NANOBOX_REASON_FILE, errno, "%s", strerror(errno));
}

bool input_is_complete(void) {
  char complete;
  return recv(REPORT_FD, &complete, 1, MSG_DONTWAIT) == 1;
}

static uint32_t type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return NANOBOX_FILE_FOLDER;
    case S_IFLNK:
      return NANOBOX_FILE_SYMLINK;
    case S_IFCHR:
      return NANOBOX_FILE_CHARACTER;
    case S_IFBLK:
      return NANOBOX_FILE_BLOCK;
    case S_IFIFO:
      return NANOBOX_FILE_FIFO;
    case S_IFSOCK:
      return NANOBOX_FILE_SOCKET;
    default:
      return NANOBOX_FILE_REGULAR;
  }
}

/* What FILE_STAT tells; a link's target is read relative to `folder`. */
static void describe(struct tlv_writer* what, const struct stat* file, int folder, const char* name) {
  char target[PATH_MAX];
  tlv_put_u32(what, NANOBOX_TAG_FILE_TYPE, type_of(file->st_mode));
  tlv_put_u64(what, NANOBOX_TAG_SIZE, (uint64_t)file->st_size);
  tlv_put_u32(what, NANOBOX_TAG_MODE, file->st_mode & 07777);
  tlv_put_u32(what, NANOBOX_TAG_UID, file->st_uid);
  tlv_put_u32(what, NANOBOX_TAG_GID, file->st_gid);
  const int64_t mtime_ns = (int64_t)file->st_mtim.tv_sec * 1000000000 + file->st_mtim.tv_nsec;
  tlv_put_u64(what, NANOBOX_TAG_MTIME_NS, (uint64_t)mtime_ns);
  if (!S_ISLNK(file->st_mode)) return;
  const ssize_t length = readlinkat(folder, name, target, sizeof target);
  if (length > 0) tlv_put(what, NANOBOX_TAG_TARGET, target, (uint32_t)length);
}

static void opened(void) {
  report(NANOBOX_OPENED, NULL);
}

ssize_t read_at_once(int fd, void* bytes, size_t size, uint64_t position) {
  struct statfs system;
  struct iovec part = {bytes, size};
  const ssize_t count = syscall(SYS_preadv2, fd, &part, 1ul, position, 0ul, RWF_NOWAIT);
  if (count >= 0 || errno != EOPNOTSUPP) return count;
  if (fstatfs(fd, &system) == 0 && system.f_type == TMPFS_MAGIC) return pread(fd, bytes, size, (off_t)position);
  errno = EOPNOTSUPP;
  return -1;
}

/* Init reads the file itself, and says from where on it is to be brought into memory. */
static void fetch_for_init(int fd) __attribute__((noreturn));
static void fetch_for_init(int fd) {
  for (uint64_t position; read(0, &position, sizeof position) == sizeof position;) {
    if (pread(fd, piece, sizeof piece, (off_t)position) < 0) fail();
    report(REPORT_FETCHED, NULL);
  }
  report_done();
}

static void read_file(const struct file_request* request) {
  TLV_WRITER(what, REPORT_MAX - 1);
  struct stat file;
  const int fd = open(request->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0 && errno == ENXIO) report_failure(NANOBOX_REASON_NOT_A_FILE, 0, "it is no regular file");
  if (fd < 0 || fstat(fd, &file) != 0) fail();
  errno = EISDIR;
  if (S_ISDIR(file.st_mode)) fail();
  if (!S_ISREG(file.st_mode)) report_failure(NANOBOX_REASON_NOT_A_FILE, 0, "it is no regular file");
  if (request->offset > INT64_MAX || lseek(fd, (off_t)request->offset, SEEK_SET) < 0) {
    errno = EINVAL;
    fail();
  }
  describe(&what, &file, AT_FDCWD, request->path);
  if (read_at_once(fd, piece, 1, 0) >= 0 || errno != EOPNOTSUPP) {
    report_with(NANOBOX_OPENED, &what, fd);
    fetch_for_init(fd);
  }
  report_opened(&what);
  uint64_t left = request->has_length ? request->length : UINT64_MAX;
  bool splices = true;
  while (left > 0) {
    const size_t most = left < PIECE ? (size_t)left : PIECE;
    ssize_t count = splices ? splice(fd, NULL, 1, NULL, most, 0) : -1;
    if (count < 0 && (!splices || errno == EINVAL)) {
      splices = false;
      count = read(fd, piece, most);
      for (ssize_t done = 0, written; done < count; done += written)
        if ((written = write(1, piece + done, (size_t)(count - done))) < 0) _exit(1);
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail();
    if (count == 0) break;
    left -= (uint64_t)count;
  }
  report_done();
}

bool make_parents(const char* path) {
  char folder[PATH_MAX];
  const char* slash = path;
  while ((slash = strchr(slash + 1, '/'))) {
    const size_t length = (size_t)(slash - path);
    if (length >= sizeof folder) break;
    memcpy(folder, path, length);
    folder[length] = 0;
    if (mkdir(folder, 0755) != 0 && errno != EEXIST) {
      struct stat there;
      if (stat(folder, &there) != 0 || !S_ISDIR(there.st_mode)) return false;
    }
  }
  return true;
}

/* Replaces a link's path by where it leads, whether or not something is there. */
static void follow_links(char path[PATH_MAX]) {
  for (int links = 0;; ++links) {
    char target[PATH_MAX], joined[PATH_MAX];
    const ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0) return;
    target[length] = 0;
    const size_t folder = target[0] == '/' ? 0 : (size_t)(strrchr(path, '/') - path) + 1;
    const int joined_length = snprintf(joined, sizeof joined, "%.*s%s", (int)folder, path, target);
    if (joined_length >= PATH_MAX || links == LINKS_MAX) {
      errno = links == LINKS_MAX ? ELOOP : ENAMETOOLONG;
      fail();
    }
    strcpy(path, joined);
  }
}

/* Ends without a word where the host left before all had come. */
static void copy_input(struct new_file* file) {
  bool splices = true;
  for (;;) {
    const ssize_t moved = splices ? splice(0, NULL, file->fd, NULL, PIECE, 0) : -1;
    if (moved > 0 || (moved < 0 && splices && errno == EINTR)) continue;
    if (moved == 0) break;
    if (splices && errno != EINVAL) {
      new_file_drop(file);
      fail();
    }
    splices = false;
    const ssize_t count = read(0, piece, sizeof piece);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    for (ssize_t done = 0; done < count;) {
      const ssize_t written = write(file->fd, piece + done, (size_t)(count - done));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        new_file_drop(file);
        fail();
      }
      done += written;
    }
  }
  if (input_is_complete()) return;
  new_file_drop(file);
  _exit(1);
}

static void write_file(const struct file_request* request) {
  char path[PATH_MAX];
  struct stat old;
  strcpy(path, request->path);
  follow_links(path);
  char* name = strrchr(path, '/') + 1;
  const bool exists = lstat(path, &old) == 0;
  errno = EISDIR;
  if (!*name || (exists && S_ISDIR(old.st_mode))) fail();
  if (exists && !S_ISREG(old.st_mode)) report_failure(NANOBOX_REASON_NOT_A_FILE, 0, "it is no regular file");
  if (!make_parents(path)) fail();
  const char last = name[-1];
  name[-1] = 0;
  const int folder = open(name - 1 == path ? "/" : path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  name[-1] = last;
  struct new_file file;
  if (folder < 0 || !new_file_make(&file, folder)) fail();
  opened();
  copy_input(&file);
  const mode_t mode = request->has_mode ? request->mode : exists ? old.st_mode & 07777 : 0644;
  const bool keeps_owner = exists && geteuid() == 0;
  if ((keeps_owner && fchown(file.fd, old.st_uid, old.st_gid) != 0) || fchmod(file.fd, mode) != 0) {
    new_file_drop(&file);
    fail();
  }
  if (!new_file_publish(&file, name)) fail();
  report_done();
}

static void stat_file(const struct file_request* request) {
  TLV_WRITER(what, REPORT_MAX - 1);
  struct stat file;
  if (lstat(request->path, &file) != 0) fail();
  describe(&what, &file, AT_FDCWD, request->path);
  report_opened(&what);
  report_done();
}

static void list_folder(const struct file_request* request) {
  DIR* folder = opendir(request->path);
  if (!folder) fail();
  opened();
  TLV_WRITER(record, NANOBOX_RECORD_MAX);
  static char buffered[65536];
  setvbuf(stdout, buffered, _IOFBF, sizeof buffered);
  for (;;) {
    errno = 0;
    const struct dirent* entry = readdir(folder);
    if (!entry && errno) fail();
    if (!entry) break;
    struct stat file;
    const char* name = entry->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
    if (fstatat(dirfd(folder), name, &file, AT_SYMLINK_NOFOLLOW) != 0) continue; /* gone meanwhile */
    record.used = 0;
    tlv_put(&record, NANOBOX_TAG_NAME, name, (uint32_t)strlen(name));
    describe(&record, &file, dirfd(folder), name);
    uint8_t size[4];
    nanobox_put32(size, record.used);
    fwrite(size, 1, sizeof size, stdout);
    fwrite(record.bytes, 1, record.used, stdout);
  }
  fflush(stdout);
  report_done();
}

/* Removes what is in the folder and never follows a link; takes `fd`. false with errno */
static bool empty_folder(int fd, unsigned depth) {
  DIR* folder = depth < DEPTH_MAX ? fdopendir(fd) : NULL;
  if (!folder) {
    if (depth == DEPTH_MAX) errno = ELOOP;
    close(fd);
    return false;
  }
  bool emptied = true;
  const struct dirent* entry;
  while (emptied && (errno = 0, entry = readdir(folder))) {
    const char* name = entry->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
    emptied = unlinkat(fd, name, 0) == 0 || errno == ENOENT;
    if (emptied || (errno != EISDIR && errno != EPERM)) continue;
    const int problem = errno;
    const int inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0 && errno == ENOTDIR) errno = problem;
    emptied =
        inner >= 0 && empty_folder(inner, depth + 1) && (unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT);
  }
  const int problem = errno;
  if (!entry && emptied) emptied = problem == 0;
  closedir(folder);
  errno = problem;
  return emptied;
}

static void remove_file(const struct file_request* request) {
  struct stat file;
  char* path = request->path;
  for (size_t end = strlen(path); end > 1 && path[end - 1] == '/'; --end) path[end - 1] = 0; /* would follow a link */
  if (path[strspn(path, "/.")] == 0) report_failure(NANOBOX_REASON_FILE, EPERM, "the root folder cannot be removed");
  if (lstat(path, &file) != 0) fail();
  if (!S_ISDIR(file.st_mode)) {
    if (unlink(path) != 0) fail();
    report_done();
  }
  if (request->recursive) {
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || !empty_folder(fd, 0)) fail();
  }
  if (rmdir(path) != 0) fail();
  report_done();
}

static void rename_file(const struct file_request* request) {
  struct stat file;
  if (lstat(request->path, &file) != 0) fail();
  if (request->parents && !make_parents(request->to)) fail();
  if (rename(request->path, request->to) != 0) fail();
  report_done();
}

static void make_folder(const struct file_request* request) {
  const mode_t mode = request->has_mode ? request->mode : 0755;
  struct stat there;
  if (request->parents && !make_parents(request->path)) fail();
  if (mkdir(request->path, mode) == 0) {
    if (chmod(request->path, mode) != 0) fail();
  } else {
    const int problem = errno;
    const bool content = problem == EEXIST && request->parents && stat(request->path, &there) == 0;
    errno = problem;
    if (!content || !S_ISDIR(there.st_mode)) fail();
  }
  report_done();
}

static void pack(const struct file_request* request) {
  const int fd = open(request->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail();
  opened();
  struct tar_problem problem;
  if (!tar_pack(fd, 1, &problem)) report_failure(problem.reason, problem.number, "%s", problem.text);
  report_done();
}

static void unpack(const struct file_request* request) {
  struct tar_problem problem;
  const bool made = make_parents(request->path) && mkdir(request->path, 0755) == 0;
  const int refused = errno;
  const int fd = open(request->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) errno = refused;
  if (fd < 0) fail();
  opened();
  if (!tar_unpack(fd, 0, made, &problem)) report_failure(problem.reason, problem.number, "%s", problem.text);
  if (!input_is_complete()) _exit(1);
  report_done();
}

static void become(const char* wanted) {
  struct user user;
  if (!find_user(wanted ? wanted : "0", &user))
    report_failure(NANOBOX_REASON_USER_NOT_FOUND, 0, "there is no such user or group in the sandbox");
  if (setgroups(user.group_count, user.groups) != 0 || setgid(user.gid) != 0 || setuid(user.uid) != 0) fail();
}

void file_work(const struct file_request* request) {
  umask(022);
  become(request->user);
  switch (request->kind) {
    case NANOBOX_KIND_FILE_READ:
      read_file(request);
      break;
    case NANOBOX_KIND_FILE_WRITE:
      write_file(request);
      break;
    case NANOBOX_KIND_FILE_STAT:
      stat_file(request);
      break;
    case NANOBOX_KIND_FILE_LIST:
      list_folder(request);
      break;
    case NANOBOX_KIND_FILE_REMOVE:
      remove_file(request);
      break;
    case NANOBOX_KIND_FILE_RENAME:
      rename_file(request);
      break;
    case NANOBOX_KIND_FOLDER_MAKE:
      make_folder(request);
      break;
    case NANOBOX_KIND_ARCHIVE_READ:
      pack(request);
      break;
    case NANOBOX_KIND_ARCHIVE_WRITE:
      unpack(request);
      break;
    default:
      break;
  }
  _exit(1);
}
