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
void let_sleep(void);
/* lo, and eth0 where the machine has one. */
void bring_network_up(void);
bool kernel_argument_is(const char* wanted);
void add_entropy(const uint8_t* bytes, size_t size);
void take_device_entropy(void);
void set_clock(uint64_t nanoseconds);
/* Slews the wall clock towards the host's; one that is behind, or far ahead, is set. */
void follow_clock(uint64_t nanoseconds);
void read_memory(uint64_t* total_kb, uint64_t* available_kb);
/* Grows the root's file system to its device, which is waited for where it has not yet the `disk_bytes` that it will
 * have; 0: it has its size. */
void grow_root(uint64_t disk_bytes);
/* The file holds `text` afterwards, and is not written where it does already. What is no file there is replaced, links
 * are never followed. false with errno. */
bool put_text(const char* path, const char* text, mode_t mode);
void end_machine(void) __attribute__((noreturn));
uint64_t now_ms(void);

/* log.c: what init itself reports */
/* To the console and the log. */
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));
/* To the log only. */
void note(const char* format, ...) __attribute__((format(printf, 1, 2)));

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
/* Entries that do not fit are left out. */
struct tlv_writer {
  uint8_t* bytes;
  uint32_t size, used;
};
#define TLV_WRITER(name, room) \
  uint8_t name##_bytes[room];  \
  struct tlv_writer name = {.bytes = name##_bytes, .size = (room)}
void tlv_put(struct tlv_writer* writer, uint16_t tag, const void* value, uint32_t length);
void tlv_put_u32(struct tlv_writer* writer, uint16_t tag, uint32_t value);
void tlv_put_u64(struct tlv_writer* writer, uint16_t tag, uint64_t value);
/* The first entry with that tag; false where there is none. */
bool tlv_find(struct tlv_reader reader, uint16_t tag, struct tlv* entry);
/* 0 where there is none */
uint32_t tlv_find_u32(struct tlv_reader reader, uint16_t tag);
uint64_t tlv_find_u64(struct tlv_reader reader, uint16_t tag);
bool tlv_has(struct tlv_reader reader, uint16_t tag);

/* channel.c: frames in and out of the virtio-serial port */
int channel_open(void);
/* Reads what is there and hands whole frames to session_frame. */
void channel_readable(void);
void channel_writable(void);
/* Forgets what is queued: a new session has begun. */
void channel_reset_output(void);
/* Bytes that may be queued now without exceeding the queue. */
size_t channel_room(void);
/* Where a payload may be put that channel_send need not copy; for a whole one, and until the next frame is sent. */
uint8_t* channel_place(void);
void channel_send(uint8_t type, uint8_t flags, uint16_t part, uint32_t stream, const void* payload, uint32_t length);
/* `number`: errno, or 0 */
void channel_send_error(uint32_t stream, uint32_t reason, int number, const char* text);

/* configure.c: CONFIGURE, which makes this copy of a guest itself */
void configure(const uint8_t* payload, uint32_t length);
/* Does what CONFIGURE put off as long as there was nobody to see it. */
void before_a_process(void);

/* session.c: what the frames mean */
void session_frame(uint8_t type, uint8_t flags, uint16_t part, uint32_t stream, const uint8_t* payload,
                   uint32_t length);
/* Lets go of the session before. After the answer to a new one's HELLO, and to a CONFIGURE beside it: in a fresh copy,
 * emulated, each line that runs for the first time takes its time. */
void session_settle(void);

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
/* Forgets what a CONFIGURE said. */
void restore_image_settings(void);
extern struct environment sandbox_environment;
/* Where and as whom commands run that do not say so. */
extern char image_cwd[4096];
extern char image_user[256];

/* main.c */
extern int event_fd; /* the epoll instance */
void watch_fd(int fd, uint32_t events, uint64_t token);
#define TOKEN_CHANNEL 1
#define TOKEN_SIGNALS 2
#define TOKEN_COMMAND(group) ((uint64_t)(group) << 8 | 3)
#define TOKEN_STREAM(number) ((uint64_t)(number) << 8 | 4)

#endif
