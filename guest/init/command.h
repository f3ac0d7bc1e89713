/* Commands: their process, its pipes and what is kept of them. The streams that speak of them are in exec.c, attach.c,
 * input.c and process.c. */
#ifndef NANOBOX_COMMAND_H
#define NANOBOX_COMMAND_H

#include "history.h"
#include "inbox.h"
#include "init.h"
#include "request.h"

struct stream;
struct reader;

struct output {
  int fd; /* -1 once closed */
  uint16_t part;
  bool told; /* its end, to the stream that started the command */
};

struct command {
  struct command* next;
  uint32_t group; /* names its cgroup and its events */
  pid_t pid;
  char id[NANOBOX_PROCESS_ID_MAX + 1]; /* empty: none */
  char* arguments;                     /* each with its NUL */
  size_t arguments_size;
  uint64_t started_ns;
  int in; /* -1 once closed */
  struct output out, err;
  bool terminal;
  struct inbox inbox;    /* what the stream that started it sent */
  uint8_t last_input;    /* of a terminal: the last byte it was given */
  struct stream* owner;  /* the stream that started it; NULL: detached or closed */
  struct stream* writer; /* the one INPUT stream */
  struct reader* readers;
  struct history history; /* of a detached one; its end is the output's length for every command */
  bool detached;
  bool closed; /* nobody wants it any more */
  bool exited, timed_out;
  bool err_turn;   /* stderr's output is the next to be sent */
  bool unfinished; /* has more output than its turn allowed */
  int status;
  uint64_t ended;    /* counts up: the order in which commands ended */
  uint64_t deadline; /* now_ms(); 0: none */
  uint64_t kill_at;  /* likewise: TERM was sent */
  uint64_t drain_by; /* likewise: an ended terminal's last output is waited for until then */
};

/* NULL where it cannot be; `reason` and `text` say why. */
struct command* command_start(struct request* request, uint32_t* reason, const char** text);
struct command* command_by_id(const struct tlv* id);
/* The newest of them: a pid may come again. */
struct command* command_by_pid(pid_t pid);
struct command* commands_first(void);
/* Nobody reads or writes it any more. */
void command_forget(struct command* command);
/* Forgets the oldest of those that ended, beyond as many as are remembered. */
void commands_trim(void);
void command_signal(const struct command* command, int number);
/* TERM to all it started, KILL two seconds later. */
void command_end(struct command* command);
/* Nobody reads its output through the stream that started it any more: it is kept from here on. */
void command_detach(struct command* command);
/* Reads at most `want` bytes; 0: none for now, or the output has ended (its fd is -1). */
size_t command_read(struct command* command, struct output* output, uint8_t* bytes, size_t want);
/* Moves input into its pipe. */
void command_feed(struct command* command);
void command_close_input(struct command* command);
/* Whether nothing more will come of it. */
bool command_is_over(const struct command* command);
/* CODE or SIGNAL, TIMED_OUT and OFFSET. */
void command_put_end(const struct command* command, struct tlv_writer* what);

/* A pipe of the command with that cgroup is ready. */
void commands_event(uint32_t group);
void commands_child_ended(pid_t pid, int status);
/* Acts on deadlines; milliseconds to the next, -1 where there is none. */
int commands_tick(void);
void commands_pump(void);
uint32_t commands_running(void);
/* Freezes every command and sends nothing more; false where they did not freeze in time. Deadlines stand still until
 * they thaw. */
bool commands_quiesce(void);
void commands_thaw(void);
void commands_end_all(void);

/* attach.c: readers of a detached command */
void readers_wake(struct command* command);
/* input.c: the INPUT stream of a command. */
void writer_feed(struct command* command);

#endif
