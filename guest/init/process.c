/* PROCESSES, SIGNAL and FORGET: what is known of commands. */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "stream.h"

/* A list as it was when it was asked for. */
struct list {
  size_t size, sent;
  uint8_t bytes[];
};

static void describe(const struct command* c, struct tlv_writer* what) {
  if (*c->id) tlv_put(what, NANOBOX_TAG_PROCESS_ID, c->id, (uint32_t)strlen(c->id));
  tlv_put_u32(what, NANOBOX_TAG_PID, (uint32_t)c->pid);
  if (c->detached) tlv_put(what, NANOBOX_TAG_DETACHED, NULL, 0);
  if (c->terminal) tlv_put(what, NANOBOX_TAG_COLUMNS, NULL, 0);
  tlv_put_u64(what, NANOBOX_TAG_STARTED_NS, c->started_ns);
  if (c->exited) {
    tlv_put(what, NANOBOX_TAG_ENDED, NULL, 0);
    command_put_end(c, what);
  } else {
    tlv_put_u64(what, NANOBOX_TAG_OFFSET, c->history.end);
  }
  for (size_t at = 0; at < c->arguments_size; at += strlen(c->arguments + at) + 1)
    tlv_put(what, NANOBOX_TAG_ARG, c->arguments + at, (uint32_t)strlen(c->arguments + at));
}

static bool list_send(struct stream* stream) {
  struct list* list = stream->owner;
  size_t size = list->size - list->sent;
  if (size > 0) {
    const uint32_t most = stream_allowance(stream);
    if (size > most) size = most;
    if (size == 0) return false;
    stream_send(stream, 0, NANOBOX_PART_STDOUT, list->bytes + list->sent, (uint32_t)size);
    list->sent += size;
    return true;
  }
  stream_send(stream, NANOBOX_FLAG_LAST, NANOBOX_PART_STDOUT, NULL, 0);
  stream_exit(stream, NULL);
  free(list);
  return false;
}

static void list_close(struct stream* stream, bool lost) {
  (void)lost;
  free(stream->owner);
}

static const struct stream_kind list_kind = {.send = list_send, .close = list_close};

static struct list* make_list(void) {
  struct list* list = calloc(1, sizeof *list);
  TLV_WRITER(what, NANOBOX_RECORD_MAX);
  for (const struct command* c = commands_first(); c && list; c = c->next) {
    if (c->closed) continue;
    what.used = 0;
    describe(c, &what);
    struct list* grown = realloc(list, sizeof *list + list->size + 4 + what.used);
    if (!grown) free(list);
    list = grown;
    if (!list) return NULL;
    nanobox_put32(list->bytes + list->size, what.used);
    memcpy(list->bytes + list->size + 4, what.bytes, what.used);
    list->size += 4 + what.used;
  }
  return list;
}

void processes_open(uint32_t number) {
  struct list* list = make_list();
  struct stream* stream = stream_make(number, &list_kind, list);
  if (!stream) {
    free(list);
    return;
  }
  if (!list) {
    stream_fail(stream, NANOBOX_REASON_NO_RESOURCES, 0, "the sandbox has no memory left");
    return;
  }
  const struct tlv_writer nothing = {0};
  stream_opened(stream, &nothing);
  stream_wake(stream);
}

static struct command* named(uint32_t number, struct tlv_reader arguments) {
  struct tlv id;
  struct command* c = tlv_find(arguments, NANOBOX_TAG_PROCESS_ID, &id) ? command_by_id(&id) : NULL;
  if (c && !c->closed) return c;
  channel_send_error(number, NANOBOX_REASON_PROCESS_NOT_FOUND, 0, "there is no such process");
  return NULL;
}

static void done(uint32_t number) {
  channel_send(NANOBOX_EXIT, NANOBOX_FLAG_LAST, 0, number, NULL, 0);
}

void process_signal_open(uint32_t number, struct tlv_reader arguments) {
  const struct command* c = named(number, arguments);
  const uint32_t wanted = tlv_find_u32(arguments, NANOBOX_TAG_SIGNAL);
  if (!c) return;
  if (wanted == 0 || wanted > 64) {
    channel_send_error(number, NANOBOX_REASON_BAD_REQUEST, 0, "signals are 1 to 64");
  } else if (c->exited) {
    channel_send_error(number, NANOBOX_REASON_PROCESS_ENDED, 0, "the process has ended");
  } else {
    command_signal(c, (int)wanted);
    done(number);
  }
}

void process_forget_open(uint32_t number, struct tlv_reader arguments) {
  struct command* c = named(number, arguments);
  if (!c) return;
  if (!c->exited) {
    channel_send_error(number, NANOBOX_REASON_PROCESS_RUNNING, 0, "the process is still running");
  } else if (c->readers || !c->detached) {
    channel_send_error(number, NANOBOX_REASON_ATTENDED, 0, "its output is still being read");
  } else {
    command_forget(c);
    done(number);
  }
}
