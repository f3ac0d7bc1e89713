/* INPUT: the one writer of a running command's stdin. */
#include <stdlib.h>

#include "command.h"
#include "stream.h"

struct writer {
  struct command* command;
  struct inbox inbox;
  bool closes; /* the last byte closes stdin */
};

static void leave(struct writer* writer) {
  writer->command->writer = NULL;
  inbox_free(&writer->inbox);
  free(writer);
}

static void give_up(struct stream* stream, struct command* c) {
  leave(stream->owner);
  if (c->exited)
    stream_fail(stream, NANOBOX_REASON_PROCESS_ENDED, 0, "the process has ended");
  else
    stream_fail(stream, NANOBOX_REASON_STDIN_CLOSED, 0, "the process does not read its stdin any more");
}

void writer_feed(struct command* c) {
  struct stream* stream = c->writer;
  struct writer* writer = stream->owner;
  if (c->in >= 0) inbox_write(&writer->inbox, c->in);
  /* A command may end by its last byte before we hear that it was the last: one that took all was not in the way. */
  if (writer->inbox.broken || (c->in < 0 && writer->inbox.used > 0)) {
    give_up(stream, c);
    return;
  }
  stream_grant(stream, &writer->inbox);
  if (!writer->inbox.last || writer->inbox.used > 0) return;
  if (writer->closes) {
    c->inbox.last = true;
    command_close_input(c);
  }
  leave(writer);
  stream_exit(stream, NULL);
}

static bool input_send(struct stream* stream) {
  (void)stream;
  return false;
}

static bool input_input(struct stream* stream, const uint8_t* bytes, uint32_t length, bool last) {
  struct writer* writer = stream->owner;
  struct command* c = writer->command;
  const bool direct = !streams_are_silent() && c->inbox.used == 0;
  if (!inbox_put(&writer->inbox, direct ? c->in : -1, bytes, length, last)) return false;
  if (length) c->last_input = bytes[length - 1];
  if (direct) writer_feed(c);
  return true;
}

static void input_close(struct stream* stream, bool lost) {
  (void)lost;
  leave(stream->owner);
}

static const struct stream_kind input_kind = {.send = input_send, .input = input_input, .close = input_close};

void input_open(uint32_t number, struct tlv_reader arguments) {
  struct tlv id;
  struct command* c = tlv_find(arguments, NANOBOX_TAG_PROCESS_ID, &id) ? command_by_id(&id) : NULL;
  const struct {
    bool refused;
    uint32_t reason;
    const char* text;
  } rules[] = {{!c || c->closed, NANOBOX_REASON_PROCESS_NOT_FOUND, "there is no such process"},
               {c && c->exited, NANOBOX_REASON_PROCESS_ENDED, "the process has ended"},
               {c && (c->in < 0 || c->inbox.last), NANOBOX_REASON_STDIN_CLOSED, "its stdin is closed"},
               {c && c->writer, NANOBOX_REASON_STDIN_BUSY, "another request is writing to its stdin"}};
  for (size_t i = 0; i < sizeof rules / sizeof *rules; ++i)
    if (rules[i].refused) {
      channel_send_error(number, rules[i].reason, 0, rules[i].text);
      return;
    }
  struct stream* stream = stream_make_owned(number, &input_kind, sizeof(struct writer));
  if (!stream) return;
  struct writer* writer = stream->owner;
  *writer = (struct writer){.command = c, .closes = tlv_has(arguments, NANOBOX_TAG_EOF)};
  c->writer = stream;
  TLV_WRITER(what, 16);
  tlv_put_u32(&what, NANOBOX_TAG_PID, (uint32_t)c->pid);
  stream_opened(stream, &what);
}
