/* What a worker process does with files: stdin brings the host's bytes, stdout takes the answer's. */
#ifndef NANOBOX_FILE_H
#define NANOBOX_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "init.h"

#define REPORT_FD 2
/* The most a report has: OPENED with a link's target, or ERROR with a name in its text. */
#define REPORT_MAX 8192

struct file_request {
  uint32_t kind;
  char *path, *to, *user; /* `to` and `user` may be NULL */
  uint64_t offset, length;
  uint32_t mode;
  bool has_length, has_mode, recursive, parents;
};

/* A worker's report that init does not pass on: what it asked for is in memory now. Beside it are NANOBOX_OPENED and
 * those that end it, NANOBOX_EXIT and NANOBOX_ERROR. */
#define REPORT_FETCHED 255

/* As pread, of what is in memory already. -1 with EAGAIN: it is not, EOPNOTSUPP: the file system cannot tell. */
ssize_t read_at_once(int fd, void* bytes, size_t size, uint64_t position);

/* Does what is asked for as that user, reports and ends. */
void file_work(const struct file_request* request) __attribute__((noreturn));

/* Reports of a worker. They end it but for the first. */
void report_opened(const struct tlv_writer* what);
void report_done(void) __attribute__((noreturn));
void report_failure(uint32_t reason, int number, const char* format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
/* Whether the host said that its bytes are complete: asked at their end. */
bool input_is_complete(void);

/* Makes the folders above `path` that are missing. false with errno */
bool make_parents(const char* path);

#endif
