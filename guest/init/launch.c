#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cgroup.h"
#include "pty.h"
#include "request.h"

/* execve by PATH without a shell or libc of the guest's. Returns the errno to report. */
static int run_program(char** argv, const struct environment* environment) {
  if (strchr(argv[0], '/')) {
    execve(argv[0], argv, environment->entries);
    return errno;
  }
  int problem = ENOENT;
  const char* path = environment_get(environment, "PATH");
  while (path && *path) {
    char candidate[4096];
    const size_t length = strcspn(path, ":");
    if (length + strlen(argv[0]) + 2 <= sizeof candidate) {
      snprintf(candidate, sizeof candidate, "%.*s/%s", length ? (int)length : 1, length ? path : ".", argv[0]);
      execve(candidate, argv, environment->entries);
      if (errno != ENOENT && errno != ENOTDIR) problem = errno;
    }
    path += length + (path[length] == ':');
  }
  return problem;
}

static void become(const struct request* request, const struct user* user, const char* cwd, int in, int out, int err) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  setsid();
  if (request->columns) ioctl(in, TIOCSCTTY, 0);
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  int problem = 0;
  if (setgroups(user->group_count, user->groups) != 0 || setgid(user->gid) != 0 || setuid(user->uid) != 0)
    problem = errno;
  if (!problem && chdir(cwd) != 0) problem = errno;
  const bool ready = !problem;
  if (ready) problem = run_program(request->argv, &request->environment);
  const bool missing = ready && (problem == ENOENT || problem == ENOTDIR);
  dprintf(2, "nanobox: cannot run '%s': %s\n", request->argv[0], missing ? "command not found" : strerror(problem));
  _exit(missing ? 127 : 126);
}

/* `ours` are our ends, `theirs` the command's: stdin, stdout, stderr. */
static bool make_pipes(int ours[3], int theirs[3]) {
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) == 0) {
    ours[0] = in[1];
    theirs[0] = in[0];
  }
  if (pipe2(out, O_CLOEXEC) == 0) {
    ours[1] = out[0];
    theirs[1] = out[1];
  }
  if (pipe2(err, O_CLOEXEC) == 0) {
    ours[2] = err[0];
    theirs[2] = err[1];
  }
  for (int i = 0; i < 3; ++i)
    if (ours[i] < 0 || fcntl(ours[i], F_SETFL, O_NONBLOCK) != 0) return false;
  return true;
}

static bool make_terminal(const struct request* request, const struct user* user, int ours[3], int theirs[3]) {
  if (!pty_open(request->columns, request->rows, user->uid, &ours[1], &theirs[0])) return false;
  ours[0] = fcntl(ours[1], F_DUPFD_CLOEXEC, 3);
  theirs[1] = theirs[2] = theirs[0];
  return ours[0] >= 0;
}

static void close_all(int fds[3]) {
  for (int i = 0; i < 3; ++i)
    if (fds[i] >= 0 && (i == 0 || fds[i] != fds[0])) close(fds[i]);
}

bool launch(const struct request* request, const struct user* user, const char* cwd, const char* group,
            struct process* process) {
  int ours[3] = {-1, -1, -1}, theirs[3] = {-1, -1, -1};
  pid_t pid = -1;
  const bool ready = request->columns ? make_terminal(request, user, ours, theirs) : make_pipes(ours, theirs);
  if (ready) pid = group_fork(group);
  if (pid == 0) become(request, user, cwd, theirs[0], theirs[1], theirs[2]);
  close_all(theirs);
  if (pid > 0)
    *process = (struct process){.pid = pid, .in = ours[0], .out = ours[1], .err = ours[2]};
  else
    close_all(ours);
  return pid > 0;
}
