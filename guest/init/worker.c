#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup.h"
#include "file.h"
#include "stream.h"

#define PIPE_SIZE (256 * 1024)
#define FILES_MAX 8192

struct worker {
  struct worker* next;
  struct stream* stream;
  pid_t pid; /* 0 once it has ended */
  int in, out, reports;
  int file; /* what init reads itself, as far as it is in memory, or -1 */
  uint64_t position, left;
  bool fetching; /* the worker brings more of it into memory */
  struct inbox inbox;
  bool writes; /* what it does must not be cut off: it cleans up when its input ends too early */
  bool opened, complete;
  uint8_t* last; /* its last report: type, then the frame's payload */
  uint32_t last_size;
};

static struct worker* workers;

static void close_fd(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void workers_child_ended(pid_t pid) {
  for (struct worker* worker = workers; worker; worker = worker->next)
    if (worker->pid == pid) worker->pid = 0;
}

static void drop(struct worker* worker) {
  struct worker** at = &workers;
  while (*at != worker) at = &(*at)->next;
  *at = worker->next;
  close_fd(&worker->in);
  close_fd(&worker->out);
  close_fd(&worker->reports);
  close_fd(&worker->file);
  if (worker->pid > 0 && !worker->writes) kill(worker->pid, SIGKILL);
  inbox_free(&worker->inbox);
  free(worker->last);
  free(worker);
}

static void finish(struct stream* stream, struct worker* worker) {
  if (!worker->last) {
    drop(worker);
    stream_fail(stream, NANOBOX_REASON_FILE, EIO, "what worked on the file was killed");
    return;
  }
  if (worker->last[0] == NANOBOX_EXIT) stream_send(stream, NANOBOX_FLAG_LAST, NANOBOX_PART_STDOUT, NULL, 0);
  channel_send(worker->last[0], NANOBOX_FLAG_LAST, 0, stream->number, worker->last + 1, worker->last_size - 1);
  drop(worker);
  stream_end(stream);
}

/* As recv; `fd` becomes what came with the report, or -1. */
static ssize_t receive_report(const struct worker* worker, uint8_t report[REPORT_MAX], int* fd) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof *fd)];
  } control;
  struct iovec part = {report, REPORT_MAX};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  const ssize_t count = recvmsg(worker->reports, &message, MSG_CMSG_CLOEXEC);
  const struct cmsghdr* rights = count > 0 ? CMSG_FIRSTHDR(&message) : NULL;
  *fd = -1;
  if (rights && rights->cmsg_type == SCM_RIGHTS) memcpy(fd, CMSG_DATA(rights), sizeof *fd);
  if (count > 0 && message.msg_flags & MSG_CTRUNC && worker->pid > 0)
    kill(worker->pid, SIGKILL); /* there was no descriptor free */
  return count;
}

static void take_reports(struct stream* stream, struct worker* worker) {
  uint8_t report[REPORT_MAX];
  while (worker->reports >= 0) {
    int fd;
    const ssize_t count = receive_report(worker, report, &fd);
    if (count < 0 && errno == EAGAIN) return;
    /* It ended without reading what it was told: its reports come after this. */
    if (count < 0 && (errno == EINTR || errno == ECONNRESET)) continue;
    if (count <= 0) {
      close_fd(&worker->reports);
    } else if (report[0] == NANOBOX_OPENED) {
      worker->opened = true;
      worker->file = fd;
      channel_send(NANOBOX_OPENED, 0, 0, stream->number, report + 1, (uint32_t)count - 1);
    } else if (report[0] == REPORT_FETCHED) {
      worker->fetching = false;
    } else if (!worker->last && (worker->last = malloc((size_t)count))) {
      memcpy(worker->last, report, (size_t)count);
      worker->last_size = (uint32_t)count;
    }
  }
}

static void feed(struct stream* stream, struct worker* worker) {
  if (streams_are_silent()) return;
  if (!inbox_write(&worker->inbox, worker->in)) close_fd(&worker->in); /* its last report tells why */
  if (worker->in < 0) inbox_drop(&worker->inbox);
  stream_grant(stream, &worker->inbox);
  if (worker->inbox.used > 0 || !worker->inbox.last || worker->complete) return;
  worker->complete = true;
  if (worker->reports >= 0) send(worker->reports, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  close_fd(&worker->in);
}

/* Sends of the file what is in memory, and lets the worker bring the rest there, which may wait for a disk. */
static bool send_file(struct stream* stream, struct worker* worker) {
  uint32_t want = stream_allowance(stream);
  if (worker->fetching || want == 0) return false;
  if (want > worker->left) want = (uint32_t)worker->left;
  uint8_t* bytes = channel_place();
  const ssize_t count = want ? read_at_once(worker->file, bytes, want, worker->position) : 0;
  if (count > 0) {
    worker->position += (uint64_t)count;
    worker->left -= (uint64_t)count;
    stream_send(stream, 0, NANOBOX_PART_STDOUT, bytes, (uint32_t)count);
    return true;
  }
  /* An error is the worker's to find and to tell. */
  worker->fetching = count < 0;
  if (count < 0 && write(worker->in, &worker->position, sizeof worker->position) > 0) return false;
  close_fd(&worker->file);
  close_fd(&worker->in);
  return false;
}

static bool worker_send(struct stream* stream) {
  struct worker* worker = stream->owner;
  feed(stream, worker);
  take_reports(stream, worker);
  if (worker->file >= 0 && !worker->last && worker->reports >= 0) return send_file(stream, worker);
  if (worker->out >= 0 && (worker->opened || worker->reports < 0)) {
    const uint32_t want = stream_allowance(stream);
    if (want == 0) return false;
    uint8_t* bytes = channel_place();
    const ssize_t count = read(worker->out, bytes, want);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (count > 0) {
      stream_send(stream, 0, NANOBOX_PART_STDOUT, bytes, (uint32_t)count);
      return true;
    }
    close_fd(&worker->out);
    take_reports(stream, worker);
  }
  if (worker->out < 0 && worker->reports < 0) finish(stream, worker);
  return false;
}

static bool worker_input(struct stream* stream, const uint8_t* bytes, uint32_t length, bool last) {
  struct worker* worker = stream->owner;
  if (worker->inbox.last) return true;
  if (!inbox_put(&worker->inbox, streams_are_silent() ? -1 : worker->in, bytes, length, last)) return false;
  feed(stream, worker);
  return true;
}

static void worker_close(struct stream* stream, bool lost) {
  (void)lost;
  drop(stream->owner);
}

static const struct stream_kind worker_kind = {.send = worker_send, .input = worker_input, .close = worker_close};

static void request_free(struct file_request* request) {
  free(request->path);
  free(request->to);
  free(request->user);
}

static bool request_read(struct tlv_reader reader, struct file_request* request) {
  struct tlv entry;
  int more;
  while ((more = tlv_next(&reader, &entry)) > 0) {
    char** text = entry.tag == NANOBOX_TAG_PATH   ? &request->path
                  : entry.tag == NANOBOX_TAG_TO   ? &request->to
                  : entry.tag == NANOBOX_TAG_USER ? &request->user
                                                  : NULL;
    if (text) {
      if (*text || entry.length > NANOBOX_PATH_MAX || !(*text = tlv_text(&entry))) return false;
      continue;
    }
    switch (entry.tag) {
      case NANOBOX_TAG_OFFSET:
        request->offset = tlv_u64(&entry);
        break;
      case NANOBOX_TAG_LENGTH:
        request->length = tlv_u64(&entry);
        request->has_length = true;
        break;
      case NANOBOX_TAG_MODE:
        request->mode = tlv_u32(&entry) & 07777;
        request->has_mode = true;
        break;
      case NANOBOX_TAG_RECURSIVE:
        request->recursive = true;
        break;
      case NANOBOX_TAG_PARENTS:
        request->parents = true;
        break;
      default:
        break;
    }
  }
  const bool renames = request->kind == NANOBOX_KIND_FILE_RENAME;
  return more == 0 && request->path && request->path[0] == '/' && (!renames || (request->to && request->to[0] == '/'));
}

/* The worker's process: has nothing of init's but its three ends. */
static void begin(const struct file_request* request, int in, int out, int reports) {
  const int ends[3] = {in, out, reports};
  int moved[3];
  for (int i = 0; i < 3; ++i) moved[i] = fcntl(ends[i], F_DUPFD, 3);
  for (int i = 0; i < 3; ++i) dup2(moved[i], i);
  syscall(SYS_close_range, 3u, ~0u, 0u);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  const struct rlimit files = {FILES_MAX, FILES_MAX};
  setrlimit(RLIMIT_NOFILE, &files);
  /* Init goes on giving while it has something, rather than that each piece is taken from it at once. */
  sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
  file_work(request);
}

static bool start(struct worker* worker, const struct file_request* request) {
  int in[2] = {-1, -1}, out[2] = {-1, -1}, reports[2] = {-1, -1};
  pid_t pid = -1;
  if (pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 &&
      socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, reports) == 0) {
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(reports[0], F_SETFL, O_NONBLOCK);
    fcntl(worker->writes ? in[1] : out[0], F_SETPIPE_SZ, PIPE_SIZE);
    pid = group_fork_worker();
  }
  if (pid == 0) begin(request, in[0], out[1], reports[1]);
  close_fd(&in[0]);
  close_fd(&out[1]);
  close_fd(&reports[1]);
  worker->pid = pid > 0 ? pid : 0;
  worker->in = in[1];
  worker->out = out[0];
  worker->reports = reports[0];
  return pid > 0;
}

void worker_open(uint32_t number, uint32_t kind, struct tlv_reader arguments) {
  struct file_request request = {.kind = kind};
  if (!request_read(arguments, &request)) {
    channel_send_error(number, NANOBOX_REASON_BAD_REQUEST, 0, "a file needs an absolute path without NUL");
    request_free(&request);
    return;
  }
  struct stream* stream = stream_make_owned(number, &worker_kind, sizeof(struct worker));
  if (!stream) {
    request_free(&request);
    return;
  }
  struct worker* worker = stream->owner;
  worker->file = -1;
  worker->position = request.offset;
  worker->left = request.has_length ? request.length : UINT64_MAX;
  worker->writes = kind == NANOBOX_KIND_FILE_WRITE || kind == NANOBOX_KIND_ARCHIVE_WRITE;
  worker->stream = stream;
  worker->next = workers;
  workers = worker;
  const bool started = start(worker, &request);
  request_free(&request);
  if (!started) {
    drop(worker);
    stream_fail(stream, NANOBOX_REASON_NO_RESOURCES, 0, "the sandbox has no room for another process");
    return;
  }
  if (worker->writes)
    watch_fd(worker->in, EPOLLOUT | EPOLLET, TOKEN_STREAM(number));
  else if (kind != NANOBOX_KIND_FILE_READ)
    close_fd(&worker->in);
  watch_fd(worker->out, EPOLLIN | EPOLLET, TOKEN_STREAM(number));
  watch_fd(worker->reports, EPOLLIN | EPOLLRDHUP | EPOLLET, TOKEN_STREAM(number));
}
