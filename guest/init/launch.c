#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

static void close_pair(int pair[2]) {
  for (int i = 0; i < 2; ++i) {
    if (pair[i] >= 0) close(pair[i]);
    pair[i] = -1;
  }
}

static bool join_group(const char* group, pid_t pid) {
  char path[128], text[16];
  snprintf(path, sizeof path, "%s/cgroup.procs", group);
  snprintf(text, sizeof text, "%d", (int)pid);
  return write_text(path, text, 0);
}

bool launch(const struct request* request, const struct user* user, const char* cwd, const char* group,
            struct process* process) {
  int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, gate[2] = {-1, -1};
  pid_t pid = -1;
  if (pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0 &&
      pipe2(gate, O_CLOEXEC) == 0)
    pid = fork();
  if (pid == 0) { /* runs only once it is in its cgroup: nothing that it starts can be outside */
    char go;
    close(gate[1]);
    while (read(gate[0], &go, 1) < 0 && errno == EINTR) {
    }
    become(request, user, cwd, in[0], out[1], err[1]);
  }
  if (pid > 0) {
    if (!join_group(group, pid)) say("nanobox-init: cannot put a command into its cgroup: %s", strerror(errno));
    *process = (struct process){.pid = pid, .in = in[1], .out = out[0], .err = err[0]};
    fcntl(process->in, F_SETFL, O_NONBLOCK);
    fcntl(process->out, F_SETFL, O_NONBLOCK);
    fcntl(process->err, F_SETFL, O_NONBLOCK);
    in[1] = out[0] = err[0] = -1;
  }
  close_pair(in);
  close_pair(out);
  close_pair(err);
  close_pair(gate);
  return pid > 0;
}
