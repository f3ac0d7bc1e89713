#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"

#define STREAMS_MAX 1024
#define ARGUMENTS_MAX 4096
#define STDIN_QUEUE (NANOBOX_INITIAL_CREDIT)
#define COMMANDS "/sys/fs/cgroup/nanobox"

/* One command: its process, its three pipes, its credit. */
struct command {
  struct command* next;
  uint32_t stream;
  pid_t pid;
  int in, out, err;      /* our ends; -1 once closed */
  uint32_t out_credit;   /* bytes the host still takes */
  uint8_t* stdin_bytes;  /* what the process has not read yet: never above STDIN_QUEUE */
  uint32_t stdin_used;
  bool stdin_last;
  bool detached;         /* its session is gone: output is read and dropped */
  bool exited, timed_out, closed;
  int status;
  uint64_t deadline;     /* now_ms(); 0: none */
};

static struct command* commands;
static size_t command_count;

static struct command* find(uint32_t stream) {
  for (struct command* c = commands; c; c = c->next)
    if (c->stream == stream && !c->detached) return c;
  return NULL;
}

static void close_fd(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void group_path(const struct command* c, const char* file, char* path, size_t size) {
  snprintf(path, size, COMMANDS "/%d%s%s", (int)c->pid, *file ? "/" : "", file);
}

/* Kills the command and all it started. */
static void kill_all_of(struct command* c) {
  char path[96];
  group_path(c, "cgroup.kill", path, sizeof path);
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd >= 0) {
    if (write(fd, "1", 1) < 0) say("nanobox-init: cannot kill a command's cgroup: %s", strerror(errno));
    close(fd);
  }
  if (!c->exited) kill(-c->pid, SIGKILL);
}

static void forget(struct command* c) {
  for (struct command** at = &commands; *at; at = &(*at)->next)
    if (*at == c) {
      *at = c->next;
      break;
    }
  --command_count;
  close_fd(&c->in);
  close_fd(&c->out);
  close_fd(&c->err);
  char path[96];
  group_path(c, "", path, sizeof path);
  rmdir(path); /* fails while background processes of the command live: they keep the group */
  free(c->stdin_bytes);
  free(c);
}

/* The end of a command is told once it has exited and its output was sent; what its children write is not waited for. */
static void finish_if_done(struct command* c) {
  if (!c->exited || (c->out >= 0 && !c->detached && !c->closed) || (c->err >= 0 && !c->detached && !c->closed)) return;
  if (!c->detached && !c->closed) {
    struct tlv_writer writer = {.used = 0};
    if (WIFSIGNALED(c->status))
      tlv_put_u32(&writer, NANOBOX_TAG_SIGNAL, (uint32_t)WTERMSIG(c->status));
    else
      tlv_put_u32(&writer, NANOBOX_TAG_CODE, (uint32_t)WEXITSTATUS(c->status));
    if (c->timed_out) tlv_put(&writer, NANOBOX_TAG_TIMED_OUT, NULL, 0);
    channel_send(NANOBOX_EXIT, NANOBOX_FLAG_LAST, 0, c->stream, writer.bytes, writer.used);
  }
  forget(c);
}

/* Moves output to the host while both credit and the channel have room. */
static void drain(struct command* c, int* fd, uint16_t part) {
  static uint8_t buffer[NANOBOX_FRAME_PAYLOAD_MAX];
  while (*fd >= 0) {
    size_t want = sizeof buffer;
    if (!c->detached && !c->closed) {
      const size_t room = channel_room();
      if (room < NANOBOX_FRAME_HEADER + 4096) return;
      if (want > room - NANOBOX_FRAME_HEADER) want = room - NANOBOX_FRAME_HEADER;
      if (want > c->out_credit) want = c->out_credit;
      if (want == 0) return;
    }
    const ssize_t count = read(*fd, buffer, want);
    if (count < 0 && errno == EINTR) continue;
    /* An exited command whose children hold the pipe: what is there has been read, that is its output. */
    if (count == 0 || (count < 0 && (errno != EAGAIN || c->exited))) {
      close_fd(fd);
      if (!c->detached && !c->closed)
        channel_send(NANOBOX_DATA, NANOBOX_FLAG_LAST, part, c->stream, NULL, 0);
      return;
    }
    if (count < 0) return;
    if (c->detached || c->closed) continue;
    c->out_credit -= (uint32_t)count;
    channel_send(NANOBOX_DATA, 0, part, c->stream, buffer, (uint32_t)count);
  }
}

static void feed_stdin(struct command* c) {
  uint32_t written_total = 0;
  while (c->in >= 0 && c->stdin_used > 0) {
    const ssize_t written = write(c->in, c->stdin_bytes, c->stdin_used);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) break;
    if (written < 0) { /* the command does not read any more: swallow the rest */
      close_fd(&c->in);
      written_total += c->stdin_used;
      c->stdin_used = 0;
      break;
    }
    memmove(c->stdin_bytes, c->stdin_bytes + written, c->stdin_used - (size_t)written);
    c->stdin_used -= (uint32_t)written;
    written_total += (uint32_t)written;
  }
  if (c->stdin_used == 0 && c->stdin_last) close_fd(&c->in);
  if (written_total > 0 && !c->detached && !c->closed) {
    struct tlv_writer writer = {.used = 0};
    tlv_put_u32(&writer, NANOBOX_TAG_CREDIT, written_total);
    channel_send(NANOBOX_WINDOW, 0, NANOBOX_PART_STDIN, c->stream, writer.bytes, writer.used);
  }
}

static void pump(struct command* c) {
  feed_stdin(c);
  drain(c, &c->out, NANOBOX_PART_STDOUT);
  drain(c, &c->err, NANOBOX_PART_STDERR);
  finish_if_done(c);
}

/* What OPEN asks for. */
struct wishes {
  char** argv;
  size_t argc;
  char* cwd;
  char* user;
  uint64_t deadline_ms;
  struct environment environment;
};

static void free_wishes(struct wishes* wishes) {
  for (size_t i = 0; i < wishes->argc; ++i) free(wishes->argv[i]);
  free(wishes->argv);
  free(wishes->cwd);
  free(wishes->user);
  environment_free(&wishes->environment);
}

static bool read_wishes(struct tlv_reader reader, struct wishes* wishes) {
  struct tlv entry;
  int more;
  wishes->argv = calloc(ARGUMENTS_MAX + 1, sizeof *wishes->argv);
  if (!wishes->argv) return false;
  for (size_t i = 0; i < sandbox_environment.count; ++i)
    environment_set(&wishes->environment, sandbox_environment.entries[i]);
  while ((more = tlv_next(&reader, &entry)) > 0) {
    char* text = NULL;
    switch (entry.tag) {
      case NANOBOX_TAG_ARG:
        if (wishes->argc == ARGUMENTS_MAX || !(text = tlv_text(&entry))) return false;
        wishes->argv[wishes->argc++] = text;
        break;
      case NANOBOX_TAG_ENV:
        if (!(text = tlv_text(&entry))) return false;
        environment_set(&wishes->environment, text);
        free(text);
        break;
      case NANOBOX_TAG_CWD:
        free(wishes->cwd);
        if (!(wishes->cwd = tlv_text(&entry))) return false;
        break;
      case NANOBOX_TAG_USER:
        free(wishes->user);
        if (!(wishes->user = tlv_text(&entry))) return false;
        break;
      case NANOBOX_TAG_DEADLINE_MS: wishes->deadline_ms = tlv_u64(&entry); break;
      default: break;
    }
  }
  return more == 0 && wishes->argc > 0 && wishes->argv[0][0];
}

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
      snprintf(candidate, sizeof candidate, "%.*s/%s", (int)length, length ? path : ".", argv[0]);
      execve(candidate, argv, environment->entries);
      if (errno != ENOENT && errno != ENOTDIR) problem = errno;
    }
    path += length + (path[length] == ':');
  }
  return problem;
}

static void become_command(const struct wishes* wishes, const struct user* user, const char* cwd, int in, int out,
                           int err) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  setsid();
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  int problem = 0;
  if (setgroups(user->group_count, user->groups) != 0 || setgid(user->gid) != 0 || setuid(user->uid) != 0) problem = errno;
  if (!problem && chdir(cwd) != 0) problem = errno;
  if (!problem) problem = run_program(wishes->argv, &wishes->environment);
  const bool missing = problem == ENOENT || problem == ENOTDIR;
  dprintf(2, "nanobox: cannot run '%s': %s\n", wishes->argv[0], missing ? "command not found" : strerror(problem));
  _exit(missing ? 127 : 126);
}

static bool make_pipes(int in[2], int out[2], int err[2]) {
  in[0] = in[1] = out[0] = out[1] = err[0] = err[1] = -1;
  if (pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0) {
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(err[0], F_SETFL, O_NONBLOCK);
    return true;
  }
  for (int i = 0; i < 2; ++i) {
    close_fd(&in[i]);
    close_fd(&out[i]);
    close_fd(&err[i]);
  }
  return false;
}

void exec_open(uint32_t stream, struct tlv_reader arguments) {
  struct wishes wishes = {0};
  struct user user;
  struct stat folder;
  int in[2], out[2], err[2];
  if (find(stream) || !read_wishes(arguments, &wishes)) {
    free_wishes(&wishes);
    channel_send_error(stream, NANOBOX_REASON_BAD_REQUEST, "a command needs a new stream, a program and text without NUL");
    return;
  }
  const char* wanted_user = wishes.user ? wishes.user : image_user;
  const char* cwd = wishes.cwd && *wishes.cwd ? wishes.cwd : image_cwd;
  const char* refusal = NULL;
  uint32_t reason = 0;
  if (!find_user(wanted_user, &user)) {
    refusal = "there is no such user or group in the sandbox";
    reason = NANOBOX_REASON_USER_NOT_FOUND;
  } else if (stat(cwd, &folder) != 0 || !S_ISDIR(folder.st_mode)) {
    refusal = "there is no such folder in the sandbox";
    reason = NANOBOX_REASON_CWD_NOT_FOUND;
  }
  struct command* c = refusal || command_count >= STREAMS_MAX ? NULL : calloc(1, sizeof *c);
  if (c && !(c->stdin_bytes = malloc(STDIN_QUEUE))) {
    free(c);
    c = NULL;
  }
  if (c && !make_pipes(in, out, err)) {
    free(c->stdin_bytes);
    free(c);
    c = NULL;
  }
  if (!c) {
    free_wishes(&wishes);
    channel_send_error(stream, refusal ? reason : NANOBOX_REASON_NO_RESOURCES,
                       refusal ? refusal : "the sandbox has no room for another command");
    return;
  }
  char home[300];
  snprintf(home, sizeof home, "HOME=%s", user.home);
  environment_set(&wishes.environment, home);

  int gate[2]; /* the child runs only once it is in its cgroup */
  const bool gated = pipe2(gate, O_CLOEXEC) == 0;
  c->pid = gated ? fork() : -1;
  if (c->pid == 0) {
    char go;
    close(gate[1]);
    while (read(gate[0], &go, 1) < 0 && errno == EINTR) {
    }
    become_command(&wishes, &user, cwd, in[0], out[1], err[1]);
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  c->in = in[1];
  c->out = out[0];
  c->err = err[0];
  if (c->pid < 0) {
    if (gated) close(gate[0]), close(gate[1]);
    close_fd(&c->in);
    close_fd(&c->out);
    close_fd(&c->err);
    free(c->stdin_bytes);
    free(c);
    free_wishes(&wishes);
    channel_send_error(stream, NANOBOX_REASON_NO_RESOURCES, "the sandbox cannot start another process");
    return;
  }
  char path[96], text[16];
  group_path(c, "", path, sizeof path);
  mkdir(path, 0755);
  group_path(c, "cgroup.procs", path, sizeof path);
  snprintf(text, sizeof text, "%d", (int)c->pid);
  write_text(path, text, 0);
  close(gate[1]);
  close(gate[0]);

  c->stream = stream;
  c->out_credit = NANOBOX_INITIAL_CREDIT;
  c->deadline = wishes.deadline_ms ? now_ms() + wishes.deadline_ms : 0;
  c->next = commands;
  commands = c;
  ++command_count;
  free_wishes(&wishes);
  watch_fd(c->in, EPOLLOUT | EPOLLET, TOKEN_STREAM(stream, NANOBOX_PART_STDIN));
  watch_fd(c->out, EPOLLIN | EPOLLET, TOKEN_STREAM(stream, NANOBOX_PART_STDOUT));
  watch_fd(c->err, EPOLLIN | EPOLLET, TOKEN_STREAM(stream, NANOBOX_PART_STDERR));
  struct tlv_writer writer = {.used = 0};
  tlv_put_u32(&writer, NANOBOX_TAG_PID, (uint32_t)c->pid);
  channel_send(NANOBOX_OPENED, 0, 0, stream, writer.bytes, writer.used);
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

void exec_signal(uint32_t stream, int signal_number) {
  struct command* c = find(stream);
  if (c && !c->exited && signal_number > 0 && signal_number < 65) kill(-c->pid, signal_number);
}

void exec_close(uint32_t stream) {
  struct command* c = find(stream);
  if (!c) return;
  c->closed = true;
  kill_all_of(c);
  pump(c);
}

void exec_event(uint64_t token, uint32_t events) {
  (void)events;
  const uint32_t stream = (uint32_t)(token >> 8);
  for (struct command *c = commands, *next; c; c = next) {
    next = c->next;
    if (c->stream == stream) pump(c);
  }
}

void exec_child_ended(pid_t pid, int status) {
  for (struct command* c = commands; c; c = c->next) {
    if (c->pid != pid || c->exited) continue;
    c->exited = true;
    c->status = status;
    pump(c);
    return;
  }
}

void exec_room(void) {
  for (struct command *c = commands, *next; c; c = next) {
    next = c->next;
    pump(c);
  }
}

int exec_deadlines(void) {
  const uint64_t now = now_ms();
  uint64_t soonest = UINT64_MAX;
  for (struct command* c = commands; c; c = c->next) {
    if (!c->deadline || c->timed_out) continue;
    if (c->deadline <= now) {
      c->timed_out = true;
      kill_all_of(c);
    } else if (c->deadline < soonest) {
      soonest = c->deadline;
    }
  }
  if (soonest == UINT64_MAX) return -1;
  return soonest - now > 60000 ? 60000 : (int)(soonest - now);
}

void exec_detach_all(void) {
  for (struct command* c = commands; c; c = c->next) c->detached = true;
  exec_room();
}

bool exec_freeze_all(bool frozen) {
  write_text(COMMANDS "/cgroup.freeze", frozen ? "1" : "0", 0);
  return true;
}

void exec_end_all(void) {
  for (struct command* c = commands; c; c = c->next)
    if (!c->exited) kill(-c->pid, SIGTERM);
  const uint64_t patience = now_ms() + 2000;
  while (commands && now_ms() < patience) {
    int status;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid > 0)
      exec_child_ended(pid, status);
    else if (pid < 0)
      break;
    else
      usleep(10000);
  }
  kill(-1, SIGKILL);
}
