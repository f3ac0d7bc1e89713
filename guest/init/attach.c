/* ATTACH: any number of readers of a detached command's output. */
#include <stdlib.h>

#include "command.h"
#include "pty.h"
#include "stream.h"

struct reader {
  struct reader* next;
  struct command* command;
  struct stream* stream;
  uint64_t position;
};

void readers_wake(struct command* command) {
  for (struct reader* reader = command->readers; reader; reader = reader->next) stream_wake(reader->stream);
}

static void leave(struct reader* reader) {
  struct reader** at = &reader->command->readers;
  while (*at != reader) at = &(*at)->next;
  *at = reader->next;
  free(reader);
  commands_trim();
}

static bool attach_send(struct stream* stream) {
  struct reader* reader = stream->owner;
  const struct command* c = reader->command;
  size_t size = stream_allowance(stream);
  uint16_t part;
  if (reader->position < c->history.end && size == 0) return false;
  if (reader->position < history_begin(&c->history)) {
    reader->position = history_begin(&c->history);
    stream_gap(stream, reader->position);
  }
  const uint8_t* bytes = history_piece(&c->history, reader->position, &size, &part);
  if (bytes) {
    stream_send(stream, 0, part, bytes, (uint32_t)size);
    reader->position += size;
    return true;
  }
  if (!command_is_over(c)) return false;
  TLV_WRITER(what, 64);
  command_put_end(c, &what);
  leave(reader);
  stream_exit(stream, &what);
  return false;
}

static void attach_signal(struct stream* stream, int number) {
  command_signal(((struct reader*)stream->owner)->command, number);
}

static void attach_resize(struct stream* stream, uint16_t columns, uint16_t rows) {
  const struct command* c = ((struct reader*)stream->owner)->command;
  if (c->terminal && c->out.fd >= 0) pty_resize(c->out.fd, columns, rows);
}

static void attach_close(struct stream* stream, bool lost) {
  (void)lost;
  leave(stream->owner);
}

static const struct stream_kind attach_kind = {
    .send = attach_send,
    .signal = attach_signal,
    .resize = attach_resize,
    .close = attach_close,
};

void attach_open(uint32_t number, struct tlv_reader arguments) {
  struct tlv id;
  const bool named = tlv_find(arguments, NANOBOX_TAG_PROCESS_ID, &id);
  struct command* c = named ? command_by_id(&id) : command_by_pid((pid_t)tlv_find_u32(arguments, NANOBOX_TAG_PID));
  if (!c || c->closed) {
    channel_send_error(number, NANOBOX_REASON_PROCESS_NOT_FOUND, 0, "there is no such process");
    return;
  }
  if (!c->detached) {
    channel_send_error(number, NANOBOX_REASON_ATTENDED, 0, "its output goes to the request that started it");
    return;
  }
  struct stream* stream = stream_make_owned(number, &attach_kind, sizeof(struct reader));
  if (!stream) return;
  struct reader* reader = stream->owner;
  const uint64_t wanted = tlv_find_u64(arguments, NANOBOX_TAG_OFFSET), begin = history_begin(&c->history);
  *reader = (struct reader){.next = c->readers, .command = c, .stream = stream, .position = wanted};
  if (wanted < begin) reader->position = begin;
  c->readers = reader;
  TLV_WRITER(what, 32);
  tlv_put_u32(&what, NANOBOX_TAG_PID, (uint32_t)c->pid);
  tlv_put_u64(&what, NANOBOX_TAG_OFFSET, reader->position);
  stream_opened(stream, &what);
  stream_wake(stream);
}
