#define _GNU_SOURCE
#include "command.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "pty.h"
#include "stream.h"

#define COMMANDS_MAX 1024
/* Ended commands that are remembered, and of how many the output too. */
#define REMEMBERED_MAX 64
#define OUTPUTS_MAX 16
/* How much of a detached command's output is read before others have their turn. */
#define DETACHED_ROUNDS 16
#define GRACE_MS 2000
#define DRAIN_MS 500

static struct command* commands; /* the newest first */
static size_t command_count;
static uint32_t last_group;
static uint64_t ended_count;
static uint64_t frozen_since; /* 0: they run */

struct command* commands_first(void) {
  return commands;
}

struct command* command_by_id(const struct tlv* id) {
  struct command* c = commands;
  while (c && (id->length == 0 || strlen(c->id) != id->length || memcmp(c->id, id->value, id->length) != 0))
    c = c->next;
  return c;
}

struct command* command_by_pid(pid_t pid) {
  struct command* c = commands;
  while (c && c->pid != pid) c = c->next;
  return c;
}

/* The time that counts for commands: it stands still while they are frozen. */
static uint64_t commands_now(void) {
  return frozen_since ? frozen_since : now_ms();
}

static void close_fd(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void command_signal(const struct command* c, int number) {
  /* Before its setsid a process has no group of its own yet. */
  if (!c->exited && kill(-c->pid, number) != 0 && errno == ESRCH) kill(c->pid, number);
}

static void kill_all_of(struct command* c) {
  group_kill(c->group);
  command_signal(c, SIGKILL);
}

void command_end(struct command* c) {
  if (c->exited || c->kill_at) return;
  c->kill_at = commands_now() + GRACE_MS;
  if (c->terminal && !c->owner) { /* hung up, which interactive shells heed and TERM they do not */
    close_fd(&c->in);
    close_fd(&c->out.fd);
  }
  if (group_signal(c->group, SIGTERM) == 0) command_signal(c, SIGTERM);
}

void command_forget(struct command* c) {
  struct command** at = &commands;
  while (*at != c) at = &(*at)->next;
  *at = c->next;
  --command_count;
  close_fd(&c->in);
  close_fd(&c->out.fd);
  close_fd(&c->err.fd);
  history_drop(&c->history);
  inbox_free(&c->inbox);
  group_release(c->group);
  free(c->arguments);
  free(c);
}

static bool is_remembered(const struct command* c) {
  return c->detached && c->exited && !c->readers && !c->writer;
}

/* Of the oldest ended ones first the output goes, then all. */
void commands_trim(void) {
  for (;;) {
    size_t remembered = 0, kept = 0;
    struct command *oldest = NULL, *oldest_kept = NULL;
    for (struct command* c = commands; c; c = c->next) {
      if (!is_remembered(c)) continue;
      ++remembered;
      if (!oldest || c->ended < oldest->ended) oldest = c;
      if (!c->history.bytes) continue;
      ++kept;
      if (!oldest_kept || c->ended < oldest_kept->ended) oldest_kept = c;
    }
    if (remembered > REMEMBERED_MAX)
      command_forget(oldest);
    else if (kept > OUTPUTS_MAX)
      history_drop(&oldest_kept->history);
    else
      return;
  }
}

size_t command_read(struct command* c, struct output* output, uint8_t* bytes, size_t want) {
  while (output->fd >= 0) {
    const ssize_t count = read(output->fd, bytes, want);
    if (count > 0) return (size_t)count;
    if (count < 0 && errno == EINTR) continue;
    /* What an ended command's children write is not waited for. A terminal hands over its last words a little later. */
    if (count < 0 && errno == EAGAIN && (!c->exited || c->drain_by)) return 0;
    close_fd(&output->fd);
  }
  return 0;
}

bool command_is_over(const struct command* c) {
  return c->exited && c->out.fd < 0 && c->err.fd < 0;
}

/* Nobody has to take it: it is kept, or dropped where the command was closed. */
static void keep_output(struct command* c, struct output* output) {
  static uint8_t bytes[65536];
  for (int round = 0; round < DETACHED_ROUNDS; ++round) {
    const size_t count = command_read(c, output, bytes, sizeof bytes);
    if (count == 0) return;
    if (!c->closed) history_put(&c->history, output->part, bytes, count);
  }
  c->unfinished = true;
}

void command_close_input(struct command* c) {
  if (c->terminal && c->in >= 0) pty_end_input(c->in, c->last_input);
  close_fd(&c->in);
}

void command_feed(struct command* c) {
  if (!inbox_write(&c->inbox, c->in)) close_fd(&c->in);
  if (c->in < 0) inbox_drop(&c->inbox);
  if (c->inbox.used == 0 && c->inbox.last) command_close_input(c);
  if (c->owner) stream_grant(c->owner, &c->inbox);
  if (c->writer && c->inbox.used == 0) writer_feed(c);
}

static void pump(struct command* c) {
  if (streams_are_silent()) return;
  c->unfinished = false;
  command_feed(c);
  if (c->owner) {
    stream_wake(c->owner);
    return;
  }
  keep_output(c, &c->out);
  keep_output(c, &c->err);
  readers_wake(c);
  if (c->closed && c->exited) command_forget(c);
}

void command_detach(struct command* c) {
  c->detached = true;
  c->owner = NULL;
  inbox_grant(&c->inbox);
  pump(c);
}

static void copy_arguments(struct command* c, const struct request* request) {
  size_t size = 0;
  for (size_t i = 0; i < request->argc; ++i) size += strlen(request->argv[i]) + 1;
  if (size > NANOBOX_RECORD_ARGUMENTS_MAX) size = NANOBOX_RECORD_ARGUMENTS_MAX;
  if (!(c->arguments = malloc(size))) return;
  for (size_t i = 0; i < request->argc && c->arguments_size < size; ++i) {
    const size_t room = size - c->arguments_size - 1, length = strnlen(request->argv[i], room);
    memcpy(c->arguments + c->arguments_size, request->argv[i], length);
    c->arguments[c->arguments_size + length] = 0;
    c->arguments_size += length + 1;
  }
}

struct command* command_start(struct request* request, uint32_t* reason, const char** text) {
  struct user user;
  struct stat folder;
  const char* cwd = request->cwd && *request->cwd ? request->cwd : image_cwd;
  *reason = NANOBOX_REASON_USER_NOT_FOUND;
  *text = "there is no such user or group in the sandbox";
  if (!find_user(request->user ? request->user : image_user, &user)) return NULL;
  *reason = NANOBOX_REASON_CWD_NOT_FOUND;
  *text = "there is no such folder in the sandbox";
  if (stat(cwd, &folder) != 0 || !S_ISDIR(folder.st_mode)) return NULL;
  if (!environment_get(&request->environment, "HOME")) {
    char home[sizeof user.home + 8] = "HOME=";
    strcat(home, user.home);
    environment_set(&request->environment, home);
  }
  if (request->columns && !environment_get(&request->environment, "TERM"))
    environment_set(&request->environment, "TERM=xterm-256color");
  *reason = NANOBOX_REASON_NO_RESOURCES;
  *text = "the sandbox has no room for another command";
  struct command* c = command_count < COMMANDS_MAX + REMEMBERED_MAX ? calloc(1, sizeof *c) : NULL;
  if (!c) return NULL;
  char group[GROUP_PATH_MAX];
  struct process process;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  group_make(c->group = ++last_group, group);
  if (!launch(request, &user, cwd, group, &process)) {
    group_release(c->group);
    free(c);
    return NULL;
  }
  c->pid = process.pid;
  c->in = process.in;
  c->out = (struct output){.fd = process.out, .part = NANOBOX_PART_STDOUT};
  c->err = (struct output){.fd = process.err, .part = NANOBOX_PART_STDERR};
  c->terminal = request->columns != 0;
  if (request->process_id) strcpy(c->id, request->process_id);
  copy_arguments(c, request);
  c->started_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
  c->deadline = request->deadline_ms ? commands_now() + request->deadline_ms : 0;
  c->detached = request->detached;
  c->next = commands;
  commands = c;
  ++command_count;
  watch_fd(c->in, EPOLLOUT | EPOLLET, TOKEN_COMMAND(c->group));
  watch_fd(c->out.fd, EPOLLIN | EPOLLET, TOKEN_COMMAND(c->group));
  if (c->err.fd >= 0) watch_fd(c->err.fd, EPOLLIN | EPOLLET, TOKEN_COMMAND(c->group));
  return c;
}

void command_put_end(const struct command* c, struct tlv_writer* what) {
  if (WIFSIGNALED(c->status))
    tlv_put_u32(what, NANOBOX_TAG_SIGNAL, (uint32_t)WTERMSIG(c->status));
  else
    tlv_put_u32(what, NANOBOX_TAG_CODE, (uint32_t)WEXITSTATUS(c->status));
  if (c->timed_out) tlv_put(what, NANOBOX_TAG_TIMED_OUT, NULL, 0);
  tlv_put_u64(what, NANOBOX_TAG_OFFSET, c->history.end);
}

void commands_event(uint32_t group) {
  struct command* c = commands;
  while (c && c->group != group) c = c->next;
  if (c) pump(c);
}

void commands_child_ended(pid_t pid, int status) {
  struct command* c = commands;
  while (c && (c->pid != pid || c->exited)) c = c->next;
  if (!c) return;
  c->exited = true;
  c->status = status;
  c->ended = ++ended_count;
  if (c->terminal) c->drain_by = now_ms() + DRAIN_MS;
  if (c->kill_at) group_kill(c->group); /* what is left of it has no right to its grace */
  close_fd(&c->in);
  pump(c);
  commands_trim();
}

/* When something is to be done about it, and does what is due. */
static uint64_t tick(struct command* c, uint64_t now) {
  if (c->exited) {
    if (!c->drain_by) return UINT64_MAX;
    if (c->drain_by > now) return c->drain_by;
    c->drain_by = 0;
    pump(c); /* may forget it */
    return UINT64_MAX;
  }
  if (frozen_since) return UINT64_MAX;
  if (c->kill_at) {
    if (c->kill_at > now) return c->kill_at;
    c->kill_at = UINT64_MAX;
    kill_all_of(c);
    return UINT64_MAX;
  }
  if (!c->deadline) return UINT64_MAX;
  if (c->deadline > now) return c->deadline;
  c->deadline = 0;
  c->timed_out = true;
  note("the deadline of process %d passed", (int)c->pid);
  command_end(c);
  return c->kill_at;
}

int commands_tick(void) {
  if (streams_are_silent()) return -1;
  const uint64_t now = now_ms();
  uint64_t soonest = UINT64_MAX;
  bool unfinished = false;
  for (struct command *c = commands, *next; c; c = next) {
    next = c->next;
    unfinished |= c->unfinished;
    const uint64_t when = tick(c, now);
    if (when < soonest) soonest = when;
  }
  if (unfinished) return 0;
  if (soonest == UINT64_MAX) return -1;
  return soonest - now > 60000 ? 60000 : (int)(soonest - now);
}

void commands_pump(void) {
  for (struct command *c = commands, *next; c; c = next) {
    next = c->next;
    if (c->unfinished) pump(c);
  }
}

uint32_t commands_running(void) {
  uint32_t count = 0;
  for (const struct command* c = commands; c; c = c->next) count += !c->exited;
  return count;
}

static void speak_again(void) {
  streams_silence(false);
  for (struct command *c = commands, *next; c; c = next) {
    next = c->next;
    pump(c);
  }
}

bool commands_quiesce(void) {
  streams_silence(true);
  if (groups_freeze(1000)) {
    if (!frozen_since) frozen_since = now_ms();
    return true;
  }
  commands_thaw();
  return false;
}

void commands_thaw(void) {
  groups_thaw();
  const uint64_t lost = frozen_since ? now_ms() - frozen_since : 0;
  frozen_since = 0;
  for (struct command* c = commands; c; c = c->next) {
    if (c->deadline) c->deadline += lost;
    if (c->kill_at && c->kill_at != UINT64_MAX) c->kill_at += lost;
  }
  speak_again();
}

void commands_end_all(void) {
  groups_thaw();
  kill(-1, SIGTERM); /* everybody but this process */
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  const uint64_t patience = now_ms() + GRACE_MS;
  for (uint64_t now; (now = now_ms()) < patience;) {
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
    }
    if (pid < 0) return; /* no child is left */
    const uint64_t left = patience - now;
    const struct timespec wait = {.tv_sec = (time_t)(left / 1000), .tv_nsec = (long)(left % 1000) * 1000000};
    sigtimedwait(&children, NULL, &wait);
  }
  kill(-1, SIGKILL);
}
