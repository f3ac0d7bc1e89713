/* Processes of init's own that work on files, for PID 1 must never wait for a disk. */
#ifndef NANOBOX_WORKER_H
#define NANOBOX_WORKER_H

#include <sys/types.h>

void workers_child_ended(pid_t pid);

#endif
