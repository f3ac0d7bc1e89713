#define _GNU_SOURCE
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
#include "init.h"
#include "request.h"
#include "tail.h"

#define STREAMS_MAX 1024
#define STDIN_QUEUE NANOBOX_INITIAL_CREDIT
/* Credit is told in pieces of at least this, or when all was taken. */
#define STDIN_GRANT (32u * 1024)
/* Ended commands that wait for somebody to attach. */
#define REMEMBERED_MAX 16
/* How much of a detached command's output is read before others have their turn. */
#define DETACHED_ROUNDS 16

struct output {
  int fd; /* -1 once closed */
  uint16_t part;
  bool last_sent;
  struct tail tail;
};

/* One command: its process, its pipes, its credit. */
struct command {
  struct command* next;
  uint32_t stream;
  uint32_t group;
  pid_t pid;
  int in; /* -1 once closed */
  struct output out, err;
  uint32_t out_credit;  /* bytes the host still takes */
  uint8_t* stdin_bytes; /* what the process has not read yet: never above STDIN_QUEUE */
  uint32_t stdin_used;
  uint32_t stdin_taken; /* not granted again yet */
  bool stdin_last;
  bool detached; /* its session is gone */
  bool closed;   /* nobody wants it any more */
  bool exited, timed_out;
  int status;
  uint64_t deadline; /* now_ms(); 0: none */
};

static struct command* commands;
static size_t command_count;
static uint32_t last_group;
static bool silent;     /* between QUIESCE and THAW nothing is sent */
static bool unfinished; /* a detached command has more output than its turn allowed */

static struct command* find(uint32_t stream) {
  for (struct command* c = commands; c; c = c->next)
    if (c->stream == stream && !c->detached && !c->closed) return c;
  return NULL;
}

static void close_fd(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void signal_command(const struct command* c, int number) {
  /* Before its setsid a process has no group of its own yet. */
  if (!c->exited && kill(-c->pid, number) != 0 && errno == ESRCH) kill(c->pid, number);
}

/* Kills the command and all it started. */
static void kill_all_of(struct command* c) {
  group_kill(c->group);
  signal_command(c, SIGKILL);
}

static void forget(struct command* c) {
  for (struct command** at = &commands; *at; at = &(*at)->next)
    if (*at == c) {
      *at = c->next;
      break;
    }
  --command_count;
  close_fd(&c->in);
  close_fd(&c->out.fd);
  close_fd(&c->err.fd);
  tail_free(&c->out.tail);
  tail_free(&c->err.tail);
  group_release(c->group);
  free(c->stdin_bytes);
  free(c);
}

static bool is_remembered(const struct command* c) {
  return c->detached && c->exited && !c->closed;
}

/* New commands come first in the list, so the last remembered one is the oldest. */
static void forget_oldest_remembered(void) {
  struct command* oldest = NULL;
  size_t count = 0;
  for (struct command* c = commands; c; c = c->next)
    if (is_remembered(c)) {
      oldest = c;
      ++count;
    }
  if (count > REMEMBERED_MAX) forget(oldest);
}

/* The end is told once the command has exited and its output was sent; what its children write is not waited for. */
static void finish_if_done(struct command* c) {
  if (!c->exited) return;
  if (c->closed) {
    forget(c);
  } else if (!c->detached && c->out.last_sent && c->err.last_sent) {
    struct tlv_writer writer = {.used = 0};
    if (WIFSIGNALED(c->status))
      tlv_put_u32(&writer, NANOBOX_TAG_SIGNAL, (uint32_t)WTERMSIG(c->status));
    else
      tlv_put_u32(&writer, NANOBOX_TAG_CODE, (uint32_t)WEXITSTATUS(c->status));
    if (c->timed_out) tlv_put(&writer, NANOBOX_TAG_TIMED_OUT, NULL, 0);
    channel_send(NANOBOX_EXIT, NANOBOX_FLAG_LAST, 0, c->stream, writer.bytes, writer.used);
    forget(c);
  }
}

static uint8_t buffer[NANOBOX_FRAME_PAYLOAD_MAX];

/* Reads at most `want` bytes; 0: none now. Closes the output at its end: of an exited command that is when what its
 * pipe holds was read, for its children may keep it open. */
static size_t read_output(struct command* c, struct output* output, size_t want) {
  while (output->fd >= 0) {
    const ssize_t count = read(output->fd, buffer, want);
    if (count > 0) return (size_t)count;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN && !c->exited) return 0;
    close_fd(&output->fd);
  }
  return 0;
}

/* Nobody reads: only the last bytes are kept, and none of a stream that was closed. */
static void keep_output(struct command* c, struct output* output) {
  for (int round = 0; round < DETACHED_ROUNDS; ++round) {
    const size_t count = read_output(c, output, sizeof buffer);
    if (count == 0) return;
    if (!c->closed) tail_put(&output->tail, buffer, count);
  }
  unfinished = true;
}

/* Moves output to the host while both credit and the channel have room. */
static void send_output(struct command* c, struct output* output) {
  while (!output->last_sent) {
    const size_t room = channel_room();
    if (room < NANOBOX_FRAME_HEADER + 4096) return;
    size_t want = sizeof buffer;
    if (want > room - NANOBOX_FRAME_HEADER) want = room - NANOBOX_FRAME_HEADER;
    if (want > c->out_credit) want = c->out_credit;
    const bool empty = output->tail.used == 0 && output->fd < 0;
    if (want == 0 && !empty) return;
    const uint8_t* bytes = tail_front(&output->tail, &want);
    if (bytes) {
      channel_send(NANOBOX_DATA, 0, output->part, c->stream, bytes, (uint32_t)want);
      tail_drop(&output->tail, want);
      c->out_credit -= (uint32_t)want;
      continue;
    }
    tail_free(&output->tail);
    const size_t count = empty ? 0 : read_output(c, output, want);
    if (count == 0 && output->fd >= 0) return;
    output->last_sent = count == 0;
    c->out_credit -= (uint32_t)count;
    channel_send(NANOBOX_DATA, count == 0 ? NANOBOX_FLAG_LAST : 0, output->part, c->stream, buffer, (uint32_t)count);
  }
}

static void grant_stdin(struct command* c, uint32_t credit) {
  struct tlv_writer writer = {.used = 0};
  tlv_put_u32(&writer, NANOBOX_TAG_CREDIT, credit);
  channel_send(NANOBOX_WINDOW, 0, NANOBOX_PART_STDIN, c->stream, writer.bytes, writer.used);
}

static void feed_stdin(struct command* c) {
  uint32_t taken = 0;
  while (c->in >= 0 && taken < c->stdin_used) {
    const ssize_t written = write(c->in, c->stdin_bytes + taken, c->stdin_used - taken);
    if (written > 0) {
      taken += (uint32_t)written;
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) { /* the command does not read any more */
      close_fd(&c->in);
    }
  }
  if (c->in < 0) taken = c->stdin_used;
  memmove(c->stdin_bytes, c->stdin_bytes + taken, c->stdin_used - taken);
  c->stdin_used -= taken;
  c->stdin_taken += taken;
  if (c->stdin_used == 0 && c->stdin_last) close_fd(&c->in);
  if (c->detached || c->closed || c->stdin_taken == 0) return;
  if (c->stdin_taken < STDIN_GRANT && c->stdin_used > 0) return;
  grant_stdin(c, c->stdin_taken);
  c->stdin_taken = 0;
}

static void pump(struct command* c) {
  if (silent) return;
  feed_stdin(c);
  struct output* outputs[] = {&c->out, &c->err};
  for (int i = 0; i < 2; ++i) {
    if (c->detached || c->closed)
      keep_output(c, outputs[i]);
    else
      send_output(c, outputs[i]);
  }
  finish_if_done(c);
}

static struct command* make_command(void) {
  struct command* c = command_count < STREAMS_MAX ? calloc(1, sizeof *c) : NULL;
  if (c && !(c->stdin_bytes = malloc(STDIN_QUEUE))) {
    free(c);
    c = NULL;
  }
  return c;
}

static void send_opened(const struct command* c) {
  struct tlv_writer writer = {.used = 0};
  tlv_put_u32(&writer, NANOBOX_TAG_PID, (uint32_t)c->pid);
  channel_send(NANOBOX_OPENED, 0, 0, c->stream, writer.bytes, writer.used);
}

static void start(uint32_t stream, struct request* request) {
  struct user user;
  struct stat folder;
  const char* cwd = request->cwd && *request->cwd ? request->cwd : image_cwd;
  if (!find_user(request->user ? request->user : image_user, &user)) {
    channel_send_error(stream, NANOBOX_REASON_USER_NOT_FOUND, "there is no such user or group in the sandbox");
    return;
  }
  if (stat(cwd, &folder) != 0 || !S_ISDIR(folder.st_mode)) {
    channel_send_error(stream, NANOBOX_REASON_CWD_NOT_FOUND, "there is no such folder in the sandbox");
    return;
  }
  if (!environment_get(&request->environment, "HOME")) {
    char home[sizeof user.home + 8] = "HOME=";
    strcat(home, user.home);
    environment_set(&request->environment, home);
  }
  char group[GROUP_PATH_MAX];
  struct process process;
  struct command* c = make_command();
  if (c) group_make(c->group = ++last_group, group);
  if (!c || !launch(request, &user, cwd, group, &process)) {
    if (c) {
      group_release(c->group);
      free(c->stdin_bytes);
      free(c);
    }
    channel_send_error(stream, NANOBOX_REASON_NO_RESOURCES, "the sandbox has no room for another command");
    return;
  }
  c->stream = stream;
  c->pid = process.pid;
  c->in = process.in;
  c->out = (struct output){.fd = process.out, .part = NANOBOX_PART_STDOUT};
  c->err = (struct output){.fd = process.err, .part = NANOBOX_PART_STDERR};
  c->out_credit = NANOBOX_INITIAL_CREDIT;
  c->deadline = request->deadline_ms ? now_ms() + request->deadline_ms : 0;
  c->next = commands;
  commands = c;
  ++command_count;
  watch_fd(c->in, EPOLLOUT | EPOLLET, TOKEN_PIPES(c->group));
  watch_fd(c->out.fd, EPOLLIN | EPOLLET, TOKEN_PIPES(c->group));
  watch_fd(c->err.fd, EPOLLIN | EPOLLET, TOKEN_PIPES(c->group));
  send_opened(c);
}

void exec_open(uint32_t stream, struct tlv_reader arguments) {
  struct request request = {0};
  if (stream == 0 || find(stream) || !request_read(arguments, &request))
    channel_send_error(stream, NANOBOX_REASON_BAD_REQUEST,
                       "a command needs a new stream, a program and text without NUL");
  else
    start(stream, &request);
  request_free(&request);
}

void exec_attach(uint32_t stream, pid_t pid) {
  struct command* c = commands;
  while (c && !(c->pid == pid && c->detached && !c->closed)) c = c->next;
  if (!c || stream == 0 || find(stream)) {
    channel_send_error(stream, NANOBOX_REASON_BAD_REQUEST, "there is no such detached command");
    return;
  }
  c->detached = false;
  c->stream = stream;
  c->out_credit = NANOBOX_INITIAL_CREDIT;
  c->stdin_taken = 0;
  c->out.last_sent = c->err.last_sent = false;
  send_opened(c);
  if (c->stdin_used < STDIN_QUEUE) grant_stdin(c, STDIN_QUEUE - c->stdin_used);
  pump(c);
}

void exec_data(uint32_t stream, const uint8_t* bytes, uint32_t length, bool last) {
  struct command* c = find(stream);
  if (!c || c->stdin_last) return;
  if (length > STDIN_QUEUE - c->stdin_used) { /* more than was granted */
    kill_all_of(c);
    return;
  }
  memcpy(c->stdin_bytes + c->stdin_used, bytes, length);
  c->stdin_used += length;
  c->stdin_last = last;
  pump(c);
}

void exec_window(uint32_t stream, uint32_t credit) {
  struct command* c = find(stream);
  if (!c) return;
  c->out_credit = credit > UINT32_MAX - c->out_credit ? UINT32_MAX : c->out_credit + credit;
  pump(c);
}

void exec_signal(uint32_t stream, int number) {
  struct command* c = find(stream);
  if (c && number > 0 && number < 65) signal_command(c, number);
}

void exec_close(uint32_t stream) {
  struct command* c = find(stream);
  if (!c) return;
  c->closed = true;
  kill_all_of(c);
  pump(c);
}

void exec_event(uint32_t group) {
  for (struct command* c = commands; c; c = c->next)
    if (c->group == group) {
      pump(c);
      return;
    }
}

void exec_child_ended(pid_t pid, int status) {
  for (struct command* c = commands; c; c = c->next) {
    if (c->pid != pid || c->exited) continue;
    c->exited = true;
    c->status = status;
    pump(c);
    forget_oldest_remembered();
    return;
  }
  groups_sweep();
}

void exec_pump_all(void) {
  unfinished = false;
  for (struct command *c = commands, *next; c; c = next) {
    next = c->next;
    pump(c);
  }
}

int exec_deadlines(void) {
  const uint64_t now = now_ms();
  uint64_t soonest = now + 60000;
  for (struct command* c = commands; c; c = c->next) {
    if (!c->deadline || c->timed_out || c->exited) continue;
    if (c->deadline <= now) {
      c->timed_out = true;
      kill_all_of(c);
    } else if (c->deadline < soonest) {
      soonest = c->deadline;
    }
  }
  if (unfinished) return 0;
  return command_count ? (int)(soonest - now) : -1;
}

void exec_detach_all(void) {
  silent = false;
  for (struct command* c = commands; c; c = c->next) c->detached = true;
  exec_pump_all();
}

uint32_t exec_count(void) {
  return (uint32_t)command_count;
}

bool exec_quiesce(void) {
  silent = true;
  if (groups_freeze(true, 1000)) return true;
  groups_freeze(false, 0);
  silent = false;
  exec_pump_all();
  return false;
}

void exec_thaw(void) {
  silent = false;
  groups_freeze(false, 1000);
  exec_pump_all();
}

void exec_end_all(void) {
  groups_freeze(false, 0);
  kill(-1, SIGTERM); /* everybody but this process */
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  const uint64_t patience = now_ms() + 2000;
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
