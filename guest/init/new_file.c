#include "new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

bool new_file_make(struct new_file* file, int folder) {
  file->folder = folder;
  do {
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != sizeof number) return false;
    snprintf(file->name, sizeof file->name, ".nanobox-%016llx", (unsigned long long)number);
    file->fd = openat(folder, file->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  } while (file->fd < 0 && errno == EEXIST);
  return file->fd >= 0;
}

bool new_file_publish(struct new_file* file, const char* name) {
  const int closed = close(file->fd);
  file->fd = -1;
  if (closed == 0 && renameat(file->folder, file->name, file->folder, name) == 0) return true;
  new_file_drop(file);
  return false;
}

void new_file_drop(struct new_file* file) {
  const int problem = errno;
  if (file->fd >= 0) close(file->fd);
  unlinkat(file->folder, file->name, 0);
  errno = problem;
}
