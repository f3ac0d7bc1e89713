/* EXEC: the stream that starts a command. */
#include <string.h>

#include "cgroup.h"
#include "command.h"
#include "pty.h"
#include "stream.h"

static bool send_output(struct stream* stream, struct command* c, struct output* output) {
  if (output->told) return false;
  if (output->fd >= 0) {
    const uint32_t want = stream_allowance(stream);
    uint8_t* bytes = channel_place();
    const size_t count = want ? command_read(c, output, bytes, want) : 0;
    if (count > 0) {
      c->history.end += count;
      stream_send(stream, 0, output->part, bytes, (uint32_t)count);
      return true;
    }
    if (output->fd >= 0) return false;
  }
  output->told = true;
  stream_send(stream, NANOBOX_FLAG_LAST, output->part, NULL, 0);
  return true;
}

static bool exec_send(struct stream* stream) {
  struct command* c = stream->owner;
  c->err_turn = !c->err_turn;
  struct output* outputs[] = {c->err_turn ? &c->out : &c->err, c->err_turn ? &c->err : &c->out};
  if (send_output(stream, c, outputs[0]) || send_output(stream, c, outputs[1])) return true;
  if (!c->exited || !c->out.told || !c->err.told) return false;
  /* What its children write later is not waited for. */
  TLV_WRITER(what, 64);
  command_put_end(c, &what);
  stream_exit(stream, &what);
  command_forget(c);
  return false;
}

static bool exec_input(struct stream* stream, const uint8_t* bytes, uint32_t length, bool last) {
  struct command* c = stream->owner;
  if (c->inbox.last) return true;
  const bool wait = streams_are_silent();
  if (!inbox_put(&c->inbox, wait ? -1 : c->in, bytes, length, last)) return false;
  if (length) c->last_input = bytes[length - 1];
  if (!wait) command_feed(c);
  return true;
}

static void exec_signal(struct stream* stream, int number) {
  command_signal(stream->owner, number);
}

static void exec_resize(struct stream* stream, uint16_t columns, uint16_t rows) {
  const struct command* c = stream->owner;
  if (c->terminal && c->out.fd >= 0) pty_resize(c->out.fd, columns, rows);
}

static void exec_close(struct stream* stream, bool lost) {
  struct command* c = stream->owner;
  if (lost) {
    command_detach(c);
    return;
  }
  c->owner = NULL;
  c->closed = true;
  command_end(c);
  commands_event(c->group);
}

static const struct stream_kind exec_kind = {
    .send = exec_send,
    .input = exec_input,
    .signal = exec_signal,
    .resize = exec_resize,
    .close = exec_close,
};

static void start(uint32_t number, struct request* request) {
  struct stream* stream = stream_make(number, &exec_kind, NULL);
  if (!stream) return;
  uint32_t reason;
  const char* text;
  struct command* c = command_start(request, &reason, &text);
  if (!c) {
    stream_fail(stream, reason, 0, text);
    return;
  }
  stream->owner = c;
  TLV_WRITER(what, 16);
  tlv_put_u32(&what, NANOBOX_TAG_PID, (uint32_t)c->pid);
  stream_opened(stream, &what);
  if (c->detached)
    stream_end(stream);
  else
    c->owner = stream;
}

void exec_open(uint32_t number, struct tlv_reader arguments) {
  struct request request = {0};
  struct tlv id;
  if (!request_read(arguments, &request))
    channel_send_error(number, NANOBOX_REASON_BAD_REQUEST, 0,
                       "a command needs a program, text without NUL, and an id of at most 64 bytes");
  else if (tlv_find(arguments, NANOBOX_TAG_PROCESS_ID, &id) && command_by_id(&id))
    channel_send_error(number, NANOBOX_REASON_PROCESS_EXISTS, 0, "a command of that id was started before");
  else
    start(number, &request);
  request_free(&request);
}
