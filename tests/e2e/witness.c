// Runs in sandboxes: tells what an old process sees of a fork or a pause.
//   witness FILE   a line for every millisecond: number, host name, 32 random bytes, wall clock, monotonic clock (ns)
//   witness        one such line to stdout
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static unsigned long long now(clockid_t clock) {
  struct timespec at;
  clock_gettime(clock, &at);
  return at.tv_sec * 1000000000ULL + at.tv_nsec;
}

int main(int argc, char** argv) {
  const int file = argc > 1 ? open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644) : STDOUT_FILENO;
  for (unsigned long number = 0;; ++number) {
    char line[320], host[65] = {0};
    unsigned char bytes[32];
    gethostname(host, sizeof host - 1);
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return 1;
    int length = sprintf(line, "%lu %s ", number, host);
    for (unsigned i = 0; i < sizeof bytes; ++i) length += sprintf(line + length, "%02x", bytes[i]);
    length += sprintf(line + length, " %llu", now(CLOCK_REALTIME));
    length += sprintf(line + length, " %llu\n", now(CLOCK_MONOTONIC));
    if (write(file, line, length) != length) return 1;
    if (argc == 1) return 0;
    const struct timespec pause = {0, 1000000};
    nanosleep(&pause, NULL);
  }
}
