/* TCP: a connection to a port of the guest's own loopback. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream.h"

struct connection {
  int fd;
  uint16_t port;
  struct inbox inbox;
  bool connected;
  int refused; /* errno of the IPv4 address, once IPv6 is tried */
  bool in_ended, out_ended;
};

static void drop(struct connection* connection) {
  if (connection->fd >= 0) close(connection->fd);
  inbox_free(&connection->inbox);
  free(connection);
}

static void fail(struct stream* stream, int number) {
  drop(stream->owner);
  stream_fail(stream, NANOBOX_REASON_CONNECTION, number, strerror(number));
}

/* Begins to connect to that family's loopback address; errno where that fails at once. */
static int begin(struct stream* stream, struct connection* connection, int family) {
  const struct sockaddr_in v4 = {
      .sin_family = AF_INET, .sin_port = htons(connection->port), .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  const struct sockaddr_in6 v6 = {
      .sin6_family = AF_INET6, .sin6_port = htons(connection->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  const bool first = family == AF_INET;
  if (connection->fd >= 0) close(connection->fd);
  connection->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (connection->fd < 0) return errno;
  const int done = connect(connection->fd, first ? (const struct sockaddr*)&v4 : (const struct sockaddr*)&v6,
                           first ? sizeof v4 : sizeof v6);
  if (done != 0 && errno != EINPROGRESS) return errno;
  watch_fd(connection->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, TOKEN_STREAM(stream->number));
  return 0;
}

/* IPv4 first; where nobody listens there, IPv6. What IPv4 said is told. */
static void connect_next(struct stream* stream, struct connection* connection, int problem) {
  if (!connection->refused) {
    connection->refused = problem;
    if (begin(stream, connection, AF_INET6) == 0) return;
  }
  fail(stream, connection->refused);
}

/* Moves what the host sent; false: the stream is over. */
static bool feed(struct stream* stream, struct connection* connection) {
  if (!connection->connected || streams_are_silent()) return true;
  if (!connection->in_ended) {
    const bool broken = !inbox_write(&connection->inbox, connection->fd); /* reading tells why */
    stream_grant(stream, &connection->inbox);
    connection->in_ended = broken || (connection->inbox.last && connection->inbox.used == 0);
    if (connection->in_ended) shutdown(connection->fd, SHUT_WR);
  }
  if (!connection->in_ended || !connection->out_ended) return true;
  drop(connection);
  stream_exit(stream, NULL);
  return false;
}

/* Whether it is connected by now. A quiet guest tells that later. */
static bool is_connected(struct stream* stream) {
  struct connection* connection = stream->owner;
  if (connection->connected) return true;
  if (streams_are_silent()) return false;
  int problem = 0;
  socklen_t size = sizeof problem;
  struct sockaddr_storage peer;
  socklen_t peer_size = sizeof peer;
  getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
  if (problem) {
    connect_next(stream, connection, problem);
    return false;
  }
  if (getpeername(connection->fd, (struct sockaddr*)&peer, &peer_size) != 0) return false; /* still connecting */
  connection->connected = true;
  const struct tlv_writer nothing = {0};
  stream_opened(stream, &nothing);
  return true;
}

static void tcp_event(struct stream* stream) {
  if (is_connected(stream) && feed(stream, stream->owner)) stream_wake(stream);
}

static bool tcp_send(struct stream* stream) {
  if (!is_connected(stream)) return false;
  struct connection* connection = stream->owner;
  if (!feed(stream, connection) || connection->out_ended) return false;
  const uint32_t want = stream_allowance(stream);
  if (want == 0) return false;
  uint8_t* bytes = channel_place();
  const ssize_t count = recv(connection->fd, bytes, want, 0);
  if (count < 0) {
    if (errno != EAGAIN && errno != EINTR) fail(stream, errno);
    return false;
  }
  connection->out_ended = count == 0;
  stream_send(stream, count == 0 ? NANOBOX_FLAG_LAST : 0, NANOBOX_PART_STDOUT, bytes, (uint32_t)count);
  return feed(stream, connection) && !connection->out_ended;
}

static bool tcp_input(struct stream* stream, const uint8_t* bytes, uint32_t length, bool last) {
  struct connection* connection = stream->owner;
  if (connection->inbox.last) return true;
  const bool direct = connection->connected && !connection->in_ended && !streams_are_silent();
  if (!inbox_put(&connection->inbox, direct ? connection->fd : -1, bytes, length, last)) return false;
  if (connection->in_ended) { /* nobody reads it */
    inbox_drop(&connection->inbox);
    stream_grant(stream, &connection->inbox);
  }
  feed(stream, connection);
  return true;
}

static void tcp_close(struct stream* stream, bool lost) {
  (void)lost;
  drop(stream->owner);
}

static const struct stream_kind tcp_kind = {
    .send = tcp_send,
    .input = tcp_input,
    .event = tcp_event,
    .close = tcp_close,
};

void tcp_open(uint32_t number, struct tlv_reader arguments) {
  const uint32_t port = tlv_find_u32(arguments, NANOBOX_TAG_PORT);
  if (port == 0 || port > 65535) {
    channel_send_error(number, NANOBOX_REASON_BAD_REQUEST, 0, "ports are 1 to 65535");
    return;
  }
  struct stream* stream = stream_make_owned(number, &tcp_kind, sizeof(struct connection));
  if (!stream) return;
  struct connection* connection = stream->owner;
  *connection = (struct connection){.fd = -1, .port = (uint16_t)port};
  const int problem = begin(stream, connection, AF_INET);
  if (problem) connect_next(stream, connection, problem);
}
