#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "command.h"
#include "stream.h"
#include "worker.h"

int event_fd = -1;

void watch_fd(int fd, uint32_t events, uint64_t token) {
  struct epoll_event event = {.events = events, .data = {.u64 = token}};
  epoll_ctl(event_fd, EPOLL_CTL_ADD, fd, &event);
}

static void reap(int signals) {
  struct signalfd_siginfo information;
  while (read(signals, &information, sizeof information) == sizeof information) {
  }
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    commands_child_ended(pid, status);
    workers_child_ended(pid);
  }
  groups_sweep();
}

/* The seed's console loop: a line is a command, its output goes to the console, then NANOBOX_DONE and the code. */
static void serve_serial_commands(void) {
  char group[GROUP_PATH_MAX];
  group_make(0, group); /* it freezes with the commands */
  if (group_fork(group) != 0) return;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  FILE* console = fopen("/dev/ttyS0", "r+");
  char line[4096];
  while (console && fgets(line, sizeof line, console)) {
    const pid_t pid = fork();
    if (pid == 0) {
      char command[4200];
      snprintf(command, sizeof command, "[ -f /etc/nanobox/env.sh ] && . /etc/nanobox/env.sh\n%s", line);
      dup2(fileno(console), 0), dup2(fileno(console), 1), dup2(fileno(console), 2);
      execle("/bin/sh", "sh", "-c", command, (char*)NULL, sandbox_environment.entries);
      _exit(127);
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    say("NANOBOX_DONE %d", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  }
  _exit(0);
}

/* Detached output may take an eighth of the memory. */
static void limit_histories(void) {
  uint64_t total_kb = 0, available_kb = 0;
  read_memory(&total_kb, &available_kb);
  const uint64_t least = 16u * 1024 * 1024, share = total_kb * 1024 / 8;
  histories_limit(share > least ? share : least);
}

int main(void) {
  if (getpid() != 1) {
    fprintf(stderr, "nanobox-init: runs as PID 1 of a sandbox only\n");
    return 2;
  }
  umask(022);
  mount_file_systems();
  let_sleep();
  bring_network_up();
  take_device_entropy();
  read_image_settings();
  limit_histories();
  groups_make_root();
  signal(SIGPIPE, SIG_IGN);

  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, NULL);
  const int signals = signalfd(-1, &children, SFD_NONBLOCK | SFD_CLOEXEC);
  event_fd = epoll_create1(EPOLL_CLOEXEC);
  const int port = channel_open();
  if (port < 0) say("nanobox-init: this machine has no guest channel: %s", strerror(errno));
  /* Edge-triggered: without a host the port reports a hang-up that never ends. */
  if (port >= 0) watch_fd(port, EPOLLIN | EPOLLOUT | EPOLLET, TOKEN_CHANNEL);
  watch_fd(signals, EPOLLIN, TOKEN_SIGNALS);
  if (kernel_argument_is("nanobox.serial_commands=1")) serve_serial_commands();
  say("NANOBOX_READY");

  for (bool busy = false;;) {
    struct epoll_event events[32];
    const int patience_ms = commands_tick();
    const int count = epoll_wait(event_fd, events, 32, busy ? 0 : patience_ms);
    for (int i = 0; i < count; ++i) {
      const uint64_t token = events[i].data.u64;
      const uint32_t number = (uint32_t)(token >> 8);
      switch (token & 0xFF) {
        case TOKEN_CHANNEL:
          channel_writable();
          channel_readable();
          break;
        case TOKEN_SIGNALS:
          reap(signals);
          break;
        case TOKEN_COMMAND(0):
          commands_event(number);
          break;
        default:
          streams_event(number);
          break;
      }
    }
    commands_pump();
    busy = streams_pump();
  }
}
