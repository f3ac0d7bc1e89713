/* What init itself reports: its last 64 KiB, and LOG, the streams that read it. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stream.h"

#define LOG_SIZE 65536u

static uint8_t ring[LOG_SIZE];
static uint64_t end; /* bytes since the beginning; those before end - LOG_SIZE are gone */

struct log_reader {
  struct log_reader* next;
  struct stream* stream;
  uint64_t position;
  bool follow;
};
static struct log_reader* readers;

static uint64_t begin(void) {
  return end > LOG_SIZE ? end - LOG_SIZE : 0;
}

static void keep(const char* text, size_t size) {
  for (size_t i = 0; i < size; ++i) ring[end++ % LOG_SIZE] = (uint8_t)text[i];
}

/* `line` ends in a line feed. */
static void keep_line(const char* line, size_t size) {
  char stamp[32];
  const uint64_t now = now_ms();
  const int length =
      snprintf(stamp, sizeof stamp, "[%5llu.%03u] ", (unsigned long long)(now / 1000), (unsigned)(now % 1000));
  keep(stamp, (size_t)length);
  keep(line, size);
  for (struct log_reader* reader = readers; reader; reader = reader->next) stream_wake(reader->stream);
}

/* The line with a line feed in `line`; its length. */
static size_t format_line(char* line, size_t size, const char* format, va_list arguments) {
  const int length = vsnprintf(line, size - 1, format, arguments);
  if (length < 0) return 0;
  size_t used = (size_t)length < size - 1 ? (size_t)length : size - 2;
  line[used++] = '\n';
  return used;
}

void note(const char* format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  keep_line(line, format_line(line, sizeof line, format, arguments));
  va_end(arguments);
}

void say(const char* format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  const size_t size = format_line(line, sizeof line, format, arguments);
  va_end(arguments);
  keep_line(line, size);
  const int fd = open("/dev/ttyS0", O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return;
  while (write(fd, line, size) < 0 && errno == EINTR) {
  }
  close(fd);
}

static void leave(struct log_reader* reader) {
  struct log_reader** at = &readers;
  while (*at != reader) at = &(*at)->next;
  *at = reader->next;
  free(reader);
}

static bool log_send(struct stream* stream) {
  struct log_reader* reader = stream->owner;
  if (reader->position == end) {
    if (reader->follow) return false;
    leave(reader);
    stream_send(stream, NANOBOX_FLAG_LAST, NANOBOX_PART_STDOUT, NULL, 0);
    stream_exit(stream, NULL);
    return false;
  }
  const uint32_t most = stream_allowance(stream);
  if (most == 0) return false;
  if (reader->position < begin()) {
    reader->position = begin();
    stream_gap(stream, reader->position);
  }
  const size_t at = reader->position % LOG_SIZE;
  uint64_t size = end - reader->position;
  if (size > most) size = most;
  if (size > LOG_SIZE - at) size = LOG_SIZE - at;
  stream_send(stream, 0, NANOBOX_PART_STDOUT, ring + at, (uint32_t)size);
  reader->position += size;
  return true;
}

static void log_close(struct stream* stream, bool lost) {
  (void)lost;
  leave(stream->owner);
}

static const struct stream_kind log_kind = {.send = log_send, .close = log_close};

void log_open(uint32_t number, struct tlv_reader arguments) {
  struct stream* stream = stream_make_owned(number, &log_kind, sizeof(struct log_reader));
  if (!stream) return;
  struct log_reader* reader = stream->owner;
  const uint64_t wanted = tlv_find_u64(arguments, NANOBOX_TAG_OFFSET);
  *reader = (struct log_reader){.next = readers,
                                .stream = stream,
                                .position = wanted < begin() ? begin()
                                            : wanted > end   ? end
                                                             : wanted,
                                .follow = tlv_has(arguments, NANOBOX_TAG_FOLLOW)};
  readers = reader;
  TLV_WRITER(what, 16);
  tlv_put_u64(&what, NANOBOX_TAG_OFFSET, reader->position);
  stream_opened(stream, &what);
  stream_wake(stream);
}
