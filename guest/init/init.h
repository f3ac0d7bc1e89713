/* nanobox-init: PID 1 of every sandbox. One thread, one epoll loop, memory bounded by the number of streams. */
#ifndef NANOBOX_INIT_H
#define NANOBOX_INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../protocol.h"

/* machine.c: what a machine needs before anything runs on it */
void mount_file_systems(void);
void bring_loopback_up(void);
bool kernel_argument_is(const char* wanted);
void add_entropy(const uint8_t* bytes, size_t size);
void take_device_entropy(void);
void set_clock(uint64_t nanoseconds);
/* Slews the wall clock towards the host's; one that is far off is set. */
void follow_clock(uint64_t nanoseconds);
void read_memory(uint64_t* total_kb, uint64_t* available_kb);
void grow_root(void);
/* Replaces what is there, never following a link; false with errno. */
bool write_text(const char* path, const char* text, mode_t mode);
void end_machine(void) __attribute__((noreturn));
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ms(void);

/* tlv.c: reading and writing tag-length-value lists */
struct tlv_reader {
  const uint8_t* at;
  const uint8_t* end;
};
struct tlv {
  uint16_t tag;
  uint32_t length;
  const uint8_t* value;
};
/* 1: an entry; 0: the end; -1: malformed */
int tlv_next(struct tlv_reader* reader, struct tlv* entry);
/* A NUL-terminated copy of a value without NUL bytes inside; NULL where it has one or memory is short. */
char* tlv_text(const struct tlv* entry);
uint32_t tlv_u32(const struct tlv* entry);
uint64_t tlv_u64(const struct tlv* entry);
struct tlv_writer {
  uint8_t bytes[1024];
  uint32_t used;
};
void tlv_put(struct tlv_writer* writer, uint16_t tag, const void* value, uint32_t length);
void tlv_put_u32(struct tlv_writer* writer, uint16_t tag, uint32_t value);
void tlv_put_u64(struct tlv_writer* writer, uint16_t tag, uint64_t value);

/* channel.c: frames in and out of the virtio-serial port */
int channel_open(void);
/* Reads what is there and hands whole frames to session_frame. */
void channel_readable(void);
void channel_writable(void);
/* Forgets what is queued: a new session has begun. */
void channel_reset_output(void);
/* Bytes that may be queued now without exceeding the queue. */
size_t channel_room(void);
void channel_send(uint8_t type, uint8_t flags, uint16_t part, uint32_t stream, const void* payload, uint32_t length);
void channel_send_error(uint32_t stream, uint32_t reason, const char* text);

/* session.c: what the frames mean */
void session_frame(uint8_t type, uint8_t flags, uint16_t part, uint32_t stream, const uint8_t* payload,
                   uint32_t length);

/* user.c: users and groups from the guest's own files */
struct user {
  uid_t uid;
  gid_t gid;
  gid_t groups[64];
  size_t group_count;
  char home[256];
  char name[64];
};
/* `wanted`: name, uid, name:group or uid:gid; empty is root. */
bool find_user(const char* wanted, struct user* user);

/* environment.c: the image's and the sandbox's settings, as CONFIGURE brings them, and a command's own */
struct environment {
  char** entries;
  size_t count;
};
void environment_set(struct environment* environment, const char* entry);
const char* environment_get(const struct environment* environment, const char* name);
void environment_free(struct environment* environment);
/* What the image's configuration says, from /etc/nanobox/env (NUL between entries), workdir and user; CONFIGURE may say
 * more. A PATH for images that set none. */
void read_image_settings(void);
extern struct environment sandbox_environment;
/* Where and as whom commands run that do not say so. */
extern char image_cwd[4096];
extern char image_user[256];

/* exec.c: commands and their streams */
void exec_open(uint32_t stream, struct tlv_reader arguments);
/* The stream goes on with a detached command: what was kept of its output, then the rest. */
void exec_attach(uint32_t stream, pid_t pid);
void exec_data(uint32_t stream, const uint8_t* bytes, uint32_t length, bool last);
void exec_window(uint32_t stream, uint32_t credit);
void exec_signal(uint32_t stream, int number);
void exec_close(uint32_t stream);
/* A pipe of the command with that cgroup is ready. */
void exec_event(uint32_t group);
void exec_child_ended(pid_t pid, int status);
/* Goes on with outputs that waited for room in the channel, or for their turn. */
void exec_pump_all(void);
/* Ends commands whose deadline passed; returns milliseconds to the next one, -1 where there is none. */
int exec_deadlines(void);
/* A new session: the former streams go on without a reader. */
void exec_detach_all(void);
uint32_t exec_count(void);
/* Freezes every command and sends nothing more of them; false where they did not freeze in time. */
bool exec_quiesce(void);
void exec_thaw(void);
void exec_end_all(void);

/* main.c */
extern int event_fd; /* the epoll instance */
void watch_fd(int fd, uint32_t events, uint64_t token);
#define TOKEN_CHANNEL 1
#define TOKEN_SIGNALS 2
#define TOKEN_PIPES(group) ((uint64_t)(group) << 8)

#endif
