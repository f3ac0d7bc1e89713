#define _GNU_SOURCE
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init.h"

#define COMMANDS "/sys/fs/cgroup/nanobox"
#define WORKERS COMMANDS "/workers"

/* Groups of ended commands whose background processes live on. Where this is full, a group stays behind. */
static uint32_t released[256];
static size_t released_count;

static void group_path(uint32_t number, const char* file, char path[GROUP_PATH_MAX]) {
  snprintf(path, GROUP_PATH_MAX, COMMANDS "/%u%s", number, file);
}

static int freeze_fd = -1, events_fd = -1;

void groups_make_root(void) {
  mkdir(COMMANDS, 0755);
  mkdir(WORKERS, 0755);
  freeze_fd = open(COMMANDS "/cgroup.freeze", O_WRONLY | O_CLOEXEC);
  events_fd = open(COMMANDS "/cgroup.events", O_RDONLY | O_CLOEXEC);
  if (freeze_fd < 0 || events_fd < 0) say("nanobox-init: processes cannot be frozen: %s", strerror(errno));
}

pid_t group_fork(const char* group) {
  before_a_process();
  const int folder = open(group, O_PATH | O_DIRECTORY | O_CLOEXEC);
  struct clone_args how = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (uint64_t)folder};
  const pid_t pid = folder < 0 ? -1 : (pid_t)syscall(SYS_clone3, &how, sizeof how);
  if (pid < 0) say("nanobox-init: cannot start a process in its cgroup: %s", strerror(errno));
  if (folder >= 0) close(folder);
  return pid;
}

pid_t group_fork_worker(void) {
  return group_fork(WORKERS);
}

void group_make(uint32_t number, char path[GROUP_PATH_MAX]) {
  group_path(number, "", path);
  if (mkdir(path, 0755) != 0) say("nanobox-init: cannot make a command's cgroup: %s", strerror(errno));
}

void group_kill(uint32_t number) {
  char path[GROUP_PATH_MAX];
  group_path(number, "/cgroup.kill", path);
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "1", 1) != 1) say("nanobox-init: cannot kill a command's cgroup: %s", strerror(errno));
  if (fd >= 0) close(fd);
}

size_t group_signal(uint32_t number, int signal_number) {
  char path[GROUP_PATH_MAX];
  group_path(number, "/cgroup.procs", path);
  FILE* file = fopen(path, "re");
  size_t count = 0;
  int pid;
  while (file && fscanf(file, "%d", &pid) == 1)
    if (pid > 1 && kill(pid, signal_number) == 0) ++count;
  if (file) fclose(file);
  return count;
}

static bool remove_group(uint32_t number) {
  char path[GROUP_PATH_MAX];
  group_path(number, "", path);
  return rmdir(path) == 0 || errno != EBUSY;
}

void group_release(uint32_t number) {
  if (remove_group(number)) return;
  if (released_count < sizeof released / sizeof *released) released[released_count++] = number;
}

void groups_sweep(void) {
  size_t kept = 0;
  for (size_t i = 0; i < released_count; ++i)
    if (!remove_group(released[i])) released[kept++] = released[i];
  released_count = kept;
}

static bool all_are_frozen(void) {
  char text[256];
  const ssize_t count = pread(events_fd, text, sizeof text - 1, 0);
  text[count > 0 ? count : 0] = 0;
  return strstr(text, "frozen 1") != NULL;
}

bool groups_freeze(int patience_ms) {
  const uint64_t until = now_ms() + (uint64_t)patience_ms;
  if (pwrite(freeze_fd, "1", 1, 0) != 1) return false;
  for (;;) { /* the kernel announces a change of cgroup.events as POLLPRI */
    if (all_are_frozen()) return true;
    const uint64_t now = now_ms();
    if (now >= until) return false;
    struct pollfd change = {.fd = events_fd, .events = POLLPRI};
    poll(&change, 1, (int)(until - now));
  }
}

void groups_thaw(void) {
  if (pwrite(freeze_fd, "0", 1, 0) != 1) say("nanobox-init: cannot thaw the processes: %s", strerror(errno));
}
