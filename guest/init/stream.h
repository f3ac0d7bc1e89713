/* The streams that the host opened: who serves each, its credit, and whose turn it is to send. */
#ifndef NANOBOX_STREAM_H
#define NANOBOX_STREAM_H

#include "inbox.h"
#include "init.h"

#define STREAMS_MAX 1024

struct stream;

/* What a kind of stream does. A handler may end its stream; whatever is NULL has no meaning for the kind. */
struct stream_kind {
  /* Sends at most one frame of data; whether there may be more at once. Called by turns while the channel has room. */
  bool (*send)(struct stream* stream);
  /* Takes what the host sent. false: it broke the rules. */
  bool (*input)(struct stream* stream, const uint8_t* bytes, uint32_t length, bool last);
  void (*signal)(struct stream* stream, int number);
  void (*resize)(struct stream* stream, uint16_t columns, uint16_t rows);
  /* A descriptor watched with TOKEN_STREAM is ready. */
  void (*event)(struct stream* stream);
  /* The host does not want it any more, or (`lost`) its session is gone: frees the owner, not the stream. */
  void (*close)(struct stream* stream, bool lost);
};

struct stream {
  struct stream* next; /* in its bucket */
  uint32_t number;
  const struct stream_kind* kind;
  void* owner;
  uint32_t credit; /* that the host granted, see NANOBOX_DATA_COST */
  int queue;       /* where it waits for its turn */
  struct stream *turn_before, *turn_after;
};

/* NULL: there are too many, and the host was told. */
struct stream* stream_make(uint32_t number, const struct stream_kind* kind, void* owner);
/* The same, with an owner of `size` bytes, all zero, which the kind's `close` frees. */
struct stream* stream_make_owned(uint32_t number, const struct stream_kind* kind, size_t size);
bool stream_exists(uint32_t number);
/* Forgets the stream; says nothing. */
void stream_end(struct stream* stream);
/* There may be something to send. */
void stream_wake(struct stream* stream);

/* The most that may be sent now, 0 without credit or room. */
uint32_t stream_allowance(const struct stream* stream);
void stream_send(struct stream* stream, uint8_t flags, uint16_t part, const uint8_t* bytes, uint32_t length);
void stream_opened(struct stream* stream, const struct tlv_writer* what);
void stream_gap(struct stream* stream, uint64_t offset);
/* EXIT with these; the stream is over. */
void stream_exit(struct stream* stream, const struct tlv_writer* what);
/* ERROR; the stream is over. `number`: errno or 0. */
void stream_fail(struct stream* stream, uint32_t reason, int number, const char* text);
/* Grants again what was taken from the inbox. */
void stream_grant(struct stream* stream, struct inbox* inbox);

/* Frames of streams, as they come. Those for streams that are gone are dropped. */
void streams_data(uint32_t number, const uint8_t* bytes, uint32_t length, bool last);
void streams_window(uint32_t number, uint32_t credit);
void streams_signal(uint32_t number, int signal_number);
void streams_resize(uint32_t number, uint16_t columns, uint16_t rows);
void streams_close(uint32_t number);
void streams_event(uint32_t number);
/* Lets the next stream that has something to send do so, if the channel has room. Whether there was one: what comes in
 * is to be looked at before the next. */
bool streams_pump(void);
void streams_lose_all(void);
/* Between QUIESCE and THAW nothing is sent. */
void streams_silence(bool silent);
bool streams_are_silent(void);

/* The kinds' own files */
void exec_open(uint32_t number, struct tlv_reader arguments);
void attach_open(uint32_t number, struct tlv_reader arguments);
void input_open(uint32_t number, struct tlv_reader arguments);
void processes_open(uint32_t number);
void process_signal_open(uint32_t number, struct tlv_reader arguments);
void process_forget_open(uint32_t number, struct tlv_reader arguments);
void worker_open(uint32_t number, uint32_t kind, struct tlv_reader arguments);
void tcp_open(uint32_t number, struct tlv_reader arguments);
void log_open(uint32_t number, struct tlv_reader arguments);

#endif
