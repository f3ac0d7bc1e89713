/* What OPEN asks for, and the process that does it. */
#ifndef NANOBOX_REQUEST_H
#define NANOBOX_REQUEST_H

#include "init.h"

struct request {
  char** argv;
  size_t argc;
  char* cwd;  /* NULL or empty: the image's */
  char* user; /* NULL: the image's */
  uint64_t deadline_ms;
  char* process_id; /* NULL: none */
  bool detached;
  uint16_t columns, rows;         /* 0: no terminal */
  struct environment environment; /* the sandbox's, then the request's */
};

/* false: malformed, without a program, or memory is short; to be freed all the same. */
bool request_read(struct tlv_reader reader, struct request* request);
void request_free(struct request* request);

/* A process and our ends of its pipes, which do not block. Of one on a terminal `in` and `out` are its master, and
 * there is no `err`. */
struct process {
  pid_t pid;
  int in, out, err;
};

/* Starts it in a session of its own and in the cgroup `group`, which exists; the process ends with 127 or 126 and a
 * line on its stderr when its program cannot be run. */
bool launch(const struct request* request, const struct user* user, const char* cwd, const char* group,
            struct process* process);

#endif
