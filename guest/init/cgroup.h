/* A cgroup (v2) for each command, so that it ends and freezes with all it started. */
#ifndef NANOBOX_CGROUP_H
#define NANOBOX_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GROUP_PATH_MAX 64

void groups_make_root(void);
/* As fork, the child being in that group from its first instruction. To move a process costs the kernel a grace period
 * of RCU, tens of milliseconds. */
pid_t group_fork(const char* group);
/* The same for a process that freezes with the commands, but belongs to none. */
pid_t group_fork_worker(void);
/* Makes the group of that number and writes its path. */
void group_make(uint32_t number, char path[GROUP_PATH_MAX]);
void group_kill(uint32_t number);
/* Sends a signal to every process in it; returns how many there were. */
size_t group_signal(uint32_t number, int signal_number);
/* Removes it, now or once what the command left running has ended. */
void group_release(uint32_t number);
/* Removes released groups that are empty by now. */
void groups_sweep(void);
/* Freezes every command; false where that did not happen within the patience. */
bool groups_freeze(int patience_ms);
/* Each goes on when its turn comes, which is not waited for. */
void groups_thaw(void);

#endif
