// Runs in sandboxes: a guest's side of the tests of networks.
//   prober MS WHAT…    tries all at once, for so many milliseconds; a line "WHAT ANSWER", in hex, for each that answers
//                      WHAT: udp:ADDRESS:PORT[:HEX] · tcp:ADDRESS:PORT[:HEX] · icmp:ADDRESS:0; HEX is what is sent
//   prober serve PORT  answers UDP and TCP with the address of who asks
//   prober frames HEX… writes these frames to eth0 as they are
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MANY = 64, AGAIN_MS = 250 };

struct target {
  const char* what;
  int type;  // SOCK_DGRAM, SOCK_STREAM, or SOCK_RAW for a ping
  struct sockaddr_in to;
  unsigned char question[2048];
  size_t size;
  int connected, done;
};

static long now_ms(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

static size_t from_hex(const char* text, unsigned char* bytes, size_t room) {
  size_t size = 0;
  unsigned byte;
  while (size < room && sscanf(text + 2 * size, "%2x", &byte) == 1) bytes[size++] = (unsigned char)byte;
  return size;
}

static void tell(const struct target* target, const unsigned char* answer, ssize_t size) {
  printf("%s ", target->what);
  for (ssize_t i = 0; i < size; ++i) printf("%02x", answer[i]);
  printf("\n");
}

static struct target read_target(const char* what, int number) {
  struct target target = {.what = what, .question = "ask\n", .size = 4};
  char kind[8], address[32], hex[4096] = "";
  unsigned port = 0;
  if (sscanf(what, "%7[a-z]:%31[0-9.]:%u:%4095s", kind, address, &port, hex) < 3) exit(2);
  target.type = kind[0] == 'u' ? SOCK_DGRAM : kind[0] == 't' ? SOCK_STREAM : SOCK_RAW;
  target.to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  if (inet_pton(AF_INET, address, &target.to.sin_addr) != 1) exit(2);
  if (hex[0]) target.size = from_hex(hex, target.question, sizeof target.question);
  if (target.type == SOCK_RAW) {
    // Another number each time: behind a NAT a ping of the same number goes on with the same connection.
    const unsigned id = ((unsigned)getpid() * MANY + (unsigned)number) & 0xffff;
    const unsigned char ping[8] = {8, 0, 0, 0, (unsigned char)(id >> 8), (unsigned char)id, 0, 1};
    const unsigned sum = 0x0800 + id + 1;
    memcpy(target.question, ping, target.size = sizeof ping);
    const unsigned folded = (sum & 0xffff) + (sum >> 16);
    target.question[2] = (unsigned char)(~folded >> 8);
    target.question[3] = (unsigned char)~folded;
  }
  return target;
}

static int open_socket(const struct target* target) {
  const int fd = socket(AF_INET, target->type | SOCK_NONBLOCK, target->type == SOCK_RAW ? IPPROTO_ICMP : 0);
  if (fd >= 0) (void)!connect(fd, (const struct sockaddr*)&target->to, sizeof target->to);
  return fd;
}

static void receive(struct target* target, int fd) {
  unsigned char bytes[4096];
  const ssize_t size = recv(fd, bytes, sizeof bytes, 0);
  if (target->type == SOCK_RAW && !(size >= 28 && bytes[20] == 0 && !memcmp(bytes + 24, target->question + 4, 2)))
    return;
  if (size <= 0 && target->type == SOCK_DGRAM) return;  // an ICMP error; another try may do better
  target->done = 1;
  // An error may be told before the socket counts as writable: then there never was a connection.
  if (size > 0 || target->connected) tell(target, bytes, size);
}

static int probe(long patience, char** what, int count) {
  static struct target targets[MANY];
  struct pollfd polls[MANY];
  if (count > MANY) return 2;
  for (int i = 0; i < count; ++i) {
    targets[i] = read_target(what[i], i);
    polls[i] = (struct pollfd){.fd = open_socket(&targets[i]), .events = POLLIN};
    if (targets[i].type == SOCK_STREAM) polls[i].events = POLLOUT;
  }
  const long end = now_ms() + patience;
  long next = 0;
  for (int left = count; left > 0 && now_ms() < end;) {
    if (now_ms() >= next) {
      next = now_ms() + AGAIN_MS;
      for (int i = 0; i < count; ++i)
        if (targets[i].type != SOCK_STREAM && !targets[i].done)
          (void)!send(polls[i].fd, targets[i].question, targets[i].size, 0);
    }
    poll(polls, (nfds_t)count, 20);
    left = 0;
    for (int i = 0; i < count; ++i) {
      struct target* target = &targets[i];
      if (!target->done && polls[i].revents & POLLOUT) {
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        target->connected = getpeername(polls[i].fd, (struct sockaddr*)&peer, &size) == 0;
        target->done = !target->connected;
        polls[i].events = POLLIN;
        if (!target->done) (void)!send(polls[i].fd, target->question, target->size, MSG_NOSIGNAL);
      } else if (!target->done && polls[i].revents) {
        receive(target, polls[i].fd);
      }
      if (target->done) polls[i].fd = -1;
      left += !target->done;
    }
  }
  // A connection that nobody speaks on is one all the same.
  for (int i = 0; i < count; ++i)
    if (targets[i].connected && !targets[i].done) tell(&targets[i], NULL, 0);
  return 0;
}

static int serve(unsigned short port) {
  const struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct pollfd polls[2];
  for (int i = 0; i < 2; ++i) {
    const int yes = 1;
    polls[i] = (struct pollfd){.fd = socket(AF_INET, i ? SOCK_DGRAM : SOCK_STREAM, 0), .events = POLLIN};
    setsockopt(polls[i].fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(polls[i].fd, (const struct sockaddr*)&here, sizeof here) != 0) return 1;
  }
  if (listen(polls[0].fd, 64) != 0) return 1;
  for (;;) {
    char text[64];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    poll(polls, 2, -1);
    if (polls[0].revents) {
      const int connection = accept(polls[0].fd, (struct sockaddr*)&from, &length);
      (void)!write(connection, inet_ntoa(from.sin_addr), strlen(inet_ntoa(from.sin_addr)));
      shutdown(connection, SHUT_WR);
      (void)!recv(connection, text, sizeof text, MSG_DONTWAIT);
      close(connection);
    }
    length = sizeof from;
    if (polls[1].revents && recvfrom(polls[1].fd, text, sizeof text, 0, (struct sockaddr*)&from, &length) >= 0)
      sendto(polls[1].fd, inet_ntoa(from.sin_addr), strlen(inet_ntoa(from.sin_addr)), 0, (struct sockaddr*)&from,
             length);
  }
}

static int write_frames(char** hex, int count) {
  const int fd = socket(AF_PACKET, SOCK_RAW, 0);
  const struct sockaddr_ll eth0 = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("eth0")};
  for (int i = 0; i < count; ++i) {
    unsigned char frame[1514];
    const size_t size = from_hex(hex[i], frame, sizeof frame);
    if (sendto(fd, frame, size, 0, (const struct sockaddr*)&eth0, sizeof eth0) < 0) return 1;
  }
  return 0;
}

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc == 3 && strcmp(argv[1], "serve") == 0) return serve((unsigned short)atoi(argv[2]));
  if (argc > 2 && strcmp(argv[1], "frames") == 0) return write_frames(argv + 2, argc - 2);
  if (argc > 2) return probe(atol(argv[1]), argv + 2, argc - 2);
  return 2;
}
