/* The guest channel's wire format (docs/guest.md): all that host and guest share. C11 and C++20.
 *
 * A frame is a 16-byte little-endian header and up to 64 KiB of payload:
 *   0 type, never 0 · 1 flags · 2 part (u16) · 4 stream (u32) · 8 payload length (u32)
 *   12 CRC-32C of header bytes 0-11 and the payload, xored with 0xFFFFFFFF, so that all zeros is never valid.
 * Payloads other than DATA are lists of tag (u16), length (u32), value. Unknown tags are skipped. */
#ifndef NANOBOX_GUEST_PROTOCOL_H
#define NANOBOX_GUEST_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

#define NANOBOX_PROTOCOL_VERSION 2
#define NANOBOX_FRAME_HEADER 16
#define NANOBOX_FRAME_PAYLOAD_MAX 65536
#define NANOBOX_RESYNC_ZEROS (NANOBOX_FRAME_PAYLOAD_MAX + NANOBOX_FRAME_HEADER)
#define NANOBOX_INITIAL_CREDIT (256u * 1024u)
/* What a DATA frame from the guest costs of its stream's credit beside its payload, unless that is empty: what a host
 * keeps of tiny frames is bounded too. */
#define NANOBOX_DATA_COST 64
#define NANOBOX_NONCE_BYTES 16
/* eth0 in every guest; the host maps it to the sandbox' own address. */
#define NANOBOX_GUEST_ADDRESS "169.254.100.2"
#define NANOBOX_GUEST_NETMASK "255.255.255.252"
#define NANOBOX_GATEWAY_ADDRESS "169.254.100.1"
/* The longest payload of HELLO and HELLO_ACK: what bounds the search for them. */
#define NANOBOX_HELLO_MAX 1024
#define NANOBOX_ENTROPY_BYTES 64

enum nanobox_frame_type {
  NANOBOX_HELLO = 1,     /* host: VERSION, NONCE */
  NANOBOX_HELLO_ACK = 2, /* guest: VERSION, NONCE, BOOT_ID, FEATURES */
  NANOBOX_CONFIGURE = 3, /* host: ID … ; guest echoes the type with no payload before it does it, or ERROR */
  NANOBOX_QUIESCE = 4,   /* host asks, guest echoes once every command is frozen */
  NANOBOX_THAW = 5,
  NANOBOX_PING = 6,  /* host: CLOCK_NS */
  NANOBOX_PONG = 7,  /* guest: what PING held */
  NANOBOX_STATS = 8, /* host asks, guest answers: UPTIME_MS, MEMORY_KB, AVAILABLE_KB, COMMANDS */
  NANOBOX_SHUTDOWN = 9,
  NANOBOX_OPEN = 16,   /* host: KIND and its arguments */
  NANOBOX_OPENED = 17, /* guest: PID · OFFSET · what FILE_STAT tells, as the kind has it */
  NANOBOX_DATA = 18,   /* raw bytes; flag LAST ends this direction (of this part) */
  NANOBOX_WINDOW = 19, /* CREDIT: that many more bytes may be sent */
  NANOBOX_SIGNAL = 20, /* host: SIGNAL */
  NANOBOX_RESIZE = 21, /* host: COLUMNS, ROWS */
  NANOBOX_EXIT = 22,   /* guest: the stream is over; of a command: CODE or SIGNAL, TIMED_OUT, OFFSET */
  NANOBOX_ERROR = 23,  /* REASON (enum nanobox_reason), TEXT, ERRNO */
  NANOBOX_CLOSE = 24, /* host: the stream is not wanted any more: a command ends, a reader leaves, a file stays whole */
  NANOBOX_GAP = 25    /* guest: OFFSET: a slow reader missed what was before it */
};

#define NANOBOX_FLAG_LAST 1

/* Everything the host sends is part 0; a guest sends part 1, and a command's stderr as part 2. */
enum nanobox_part { NANOBOX_PART_STDIN = 0, NANOBOX_PART_STDOUT = 1, NANOBOX_PART_STDERR = 2 };

/* What a stream is for. Each ends with EXIT or ERROR, but for a detached command's EXEC, which ends with OPENED.
 * USER is whose permissions hold, root's where it is absent; only EXEC's default is the image's. */
enum nanobox_kind {
  NANOBOX_KIND_EXEC = 1, /* ARG…, ENV…, CWD, USER, DEADLINE_MS, PROCESS_ID, DETACHED, COLUMNS and ROWS: on a PTY */
  NANOBOX_KIND_ATTACH = 2,       /* PROCESS_ID or PID, OFFSET: reads a detached command's output. OPENED: PID, OFFSET */
  NANOBOX_KIND_INPUT = 3,        /* PROCESS_ID, EOF: DATA goes to its stdin, which LAST closes where EOF was given */
  NANOBOX_KIND_PROCESSES = 4,    /* DATA holds a record for each command that is still known */
  NANOBOX_KIND_SIGNAL = 5,       /* PROCESS_ID, SIGNAL */
  NANOBOX_KIND_FORGET = 6,       /* PROCESS_ID: of a command that has ended */
  NANOBOX_KIND_FILE_READ = 16,   /* PATH, USER, OFFSET, LENGTH. OPENED: as FILE_STAT, of what a link leads to */
  NANOBOX_KIND_FILE_WRITE = 17,  /* PATH, USER, MODE: appears whole under its name at LAST; parents are made */
  NANOBOX_KIND_FILE_STAT = 18,   /* PATH, USER. OPENED: FILE_TYPE, SIZE, MODE, UID, GID, MTIME_NS, TARGET */
  NANOBOX_KIND_FILE_LIST = 19,   /* PATH, USER: DATA holds a record for each entry: NAME and as FILE_STAT */
  NANOBOX_KIND_FILE_REMOVE = 20, /* PATH, USER, RECURSIVE: links are never followed */
  NANOBOX_KIND_FILE_RENAME = 21, /* PATH, TO, USER, PARENTS */
  NANOBOX_KIND_FOLDER_MAKE = 22, /* PATH, USER, PARENTS, MODE */
  NANOBOX_KIND_ARCHIVE_READ = 23,  /* PATH, USER: the folder's content as a tar stream */
  NANOBOX_KIND_ARCHIVE_WRITE = 24, /* PATH, USER: a tar stream into the folder, which is made where it is missing */
  NANOBOX_KIND_TCP = 32, /* PORT on the guest's own loopback; LAST ends either direction, EXIT once both ended */
  NANOBOX_KIND_LOG = 33  /* OFFSET, FOLLOW: what init itself reports. OPENED: OFFSET */
};

/* Bits of FEATURES: what a guest can beyond version 1's frames. */
#define NANOBOX_FEATURE_EXEC 1
#define NANOBOX_FEATURE_STATS 2
#define NANOBOX_FEATURE_ATTACH 4
#define NANOBOX_FEATURE_PROCESSES 8 /* PROCESS_ID, DETACHED and the kinds 3 to 6 */
#define NANOBOX_FEATURE_TERMINAL 16
#define NANOBOX_FEATURE_FILES 32
#define NANOBOX_FEATURE_TCP 64
#define NANOBOX_FEATURE_LOG 128

#define NANOBOX_PROCESS_ID_MAX 64
#define NANOBOX_PATH_MAX 4095 /* bytes, without the NUL */
#define NANOBOX_NAME_MAX 255
/* The last bytes of a detached command's output that are kept. */
#define NANOBOX_OUTPUT_KEPT (1024 * 1024)
/* PROCESSES and FILE_LIST: a u32 length, then a list of at most this. */
#define NANOBOX_RECORD_MAX 8192
/* What a record tells of a command's arguments; the rest is left out. */
#define NANOBOX_RECORD_ARGUMENTS_MAX 4096

enum nanobox_file_type {
  NANOBOX_FILE_REGULAR = 1,
  NANOBOX_FILE_FOLDER = 2,
  NANOBOX_FILE_SYMLINK = 3,
  NANOBOX_FILE_CHARACTER = 4,
  NANOBOX_FILE_BLOCK = 5,
  NANOBOX_FILE_FIFO = 6,
  NANOBOX_FILE_SOCKET = 7
};

enum nanobox_tag {
  NANOBOX_TAG_VERSION = 1,       /* u32 */
  NANOBOX_TAG_NONCE = 2,         /* 16 bytes */
  NANOBOX_TAG_BOOT_ID = 3,       /* text */
  NANOBOX_TAG_ID = 4,            /* text: the sandbox */
  NANOBOX_TAG_HOSTNAME = 5,      /* text */
  NANOBOX_TAG_RESOLVER = 6,      /* text: an address */
  NANOBOX_TAG_ENV = 7,           /* text "K=V", repeated; CONFIGURE has CWD and USER beside it, the image's */
  NANOBOX_TAG_CLOCK_NS = 8,      /* u64: wall clock since 1970 */
  NANOBOX_TAG_ENTROPY = 9,       /* 64 bytes */
  NANOBOX_TAG_GENERATION = 10,   /* u64 */
  NANOBOX_TAG_KIND = 16,         /* u32: enum nanobox_kind */
  NANOBOX_TAG_ARG = 17,          /* text, repeated: argv */
  NANOBOX_TAG_CWD = 18,          /* text */
  NANOBOX_TAG_USER = 19,         /* text: name, uid, name:group, uid:gid */
  NANOBOX_TAG_DEADLINE_MS = 20,  /* u64; 0 or absent: none */
  NANOBOX_TAG_PID = 21,          /* u32 */
  NANOBOX_TAG_CREDIT = 22,       /* u32 */
  NANOBOX_TAG_SIGNAL = 23,       /* u32 */
  NANOBOX_TAG_CODE = 24,         /* u32 */
  NANOBOX_TAG_TIMED_OUT = 25,    /* no value */
  NANOBOX_TAG_REASON = 26,       /* u32: enum nanobox_reason */
  NANOBOX_TAG_TEXT = 27,         /* text */
  NANOBOX_TAG_FEATURES = 28,     /* u64: NANOBOX_FEATURE_… */
  NANOBOX_TAG_UPTIME_MS = 29,    /* u64 */
  NANOBOX_TAG_MEMORY_KB = 30,    /* u64 */
  NANOBOX_TAG_AVAILABLE_KB = 31, /* u64 */
  NANOBOX_TAG_COMMANDS = 32,     /* u32: running commands, detached ones too */
  NANOBOX_TAG_COLUMNS = 33,      /* u32 */
  NANOBOX_TAG_ROWS = 34,         /* u32 */
  NANOBOX_TAG_PROCESS_ID = 35,   /* text of at most 64 bytes: the host's name for a command, never used twice */
  NANOBOX_TAG_DETACHED = 36,     /* no value */
  NANOBOX_TAG_OFFSET = 37,       /* u64: bytes since the beginning, of an output both parts together */
  NANOBOX_TAG_EOF = 38,          /* no value */
  NANOBOX_TAG_STARTED_NS = 39,   /* u64: wall clock since 1970 */
  NANOBOX_TAG_ENDED = 40,        /* no value: CODE or SIGNAL tell how */
  NANOBOX_TAG_PATH = 41,         /* bytes without NUL, absolute */
  NANOBOX_TAG_TO = 42,           /* as PATH */
  NANOBOX_TAG_MODE = 43,         /* u32: permission bits, 07777 */
  NANOBOX_TAG_UID = 44,          /* u32 */
  NANOBOX_TAG_GID = 45,          /* u32 */
  NANOBOX_TAG_SIZE = 46,         /* u64 */
  NANOBOX_TAG_MTIME_NS = 47,     /* u64, two's complement: since 1970 */
  NANOBOX_TAG_FILE_TYPE = 48,    /* u32: enum nanobox_file_type */
  NANOBOX_TAG_TARGET = 49,       /* bytes: where a symlink leads */
  NANOBOX_TAG_LENGTH = 50,       /* u64 */
  NANOBOX_TAG_RECURSIVE = 51,    /* no value */
  NANOBOX_TAG_PARENTS = 52,      /* no value */
  NANOBOX_TAG_ERRNO = 53,        /* u32: Linux' number */
  NANOBOX_TAG_PORT = 54,         /* u32 */
  NANOBOX_TAG_FOLLOW = 55,       /* no value: goes on until CLOSE */
  NANOBOX_TAG_NAME = 56,         /* bytes: of an entry of a folder */
  NANOBOX_TAG_DISK_BYTES = 57,   /* u64: the size that the root's device is to have, maybe not at once */
  NANOBOX_TAG_REHEARSAL = 58,    /* no value: another CONFIGURE will follow, what QUIESCE froze waits for that */
  NANOBOX_TAG_SYNC = 59          /* no value: with QUIESCE, what is to go to the disk goes there before the answer */
};

enum nanobox_reason {
  NANOBOX_REASON_UNKNOWN_TYPE = 1,
  NANOBOX_REASON_BAD_REQUEST = 2,
  NANOBOX_REASON_CWD_NOT_FOUND = 3,
  NANOBOX_REASON_USER_NOT_FOUND = 4,
  NANOBOX_REASON_NO_RESOURCES = 5,
  NANOBOX_REASON_NOT_CONFIGURED = 6,
  NANOBOX_REASON_PROCESS_NOT_FOUND = 7,
  NANOBOX_REASON_PROCESS_EXISTS = 8,   /* EXEC: that PROCESS_ID is taken */
  NANOBOX_REASON_PROCESS_ENDED = 9,    /* SIGNAL, INPUT: too late */
  NANOBOX_REASON_PROCESS_RUNNING = 10, /* FORGET: too early */
  NANOBOX_REASON_ATTENDED = 11,        /* ATTACH: the output goes to the stream that started it */
  NANOBOX_REASON_STDIN_BUSY = 12,      /* INPUT: another one is writing */
  NANOBOX_REASON_STDIN_CLOSED = 13,
  NANOBOX_REASON_FILE = 14,       /* ERRNO tells why */
  NANOBOX_REASON_NOT_A_FILE = 15, /* a device, FIFO or socket where a file or folder was expected */
  NANOBOX_REASON_ARCHIVE = 16,    /* no tar archive, or an entry that leads out of the folder */
  NANOBOX_REASON_CONNECTION = 17  /* TCP: ERRNO tells why */
};

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static inline uint32_t nanobox_crc32c_by_instruction(uint32_t crc, const void* data,
                                                                                       size_t size) {
  const uint8_t* bytes = (const uint8_t*)data;
  uint64_t sum = (uint32_t)~crc;
  for (; size >= 8; size -= 8, bytes += 8) {
    uint64_t word;
    __builtin_memcpy(&word, bytes, 8);
    sum = __builtin_ia32_crc32di(sum, word);
  }
  for (; size > 0; --size) sum = __builtin_ia32_crc32qi((uint32_t)sum, *bytes++);
  return ~(uint32_t)sum;
}
#endif

static inline uint32_t nanobox_crc32c_by_table(uint32_t crc, const void* data, size_t size) {
  const uint8_t* bytes = (const uint8_t*)data;
  crc = ~crc;
  for (size_t i = 0; i < size; ++i) {
    static const uint32_t half_byte[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
                                           0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                           0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    crc = half_byte[(crc ^ bytes[i]) & 15] ^ (crc >> 4);
    crc = half_byte[(crc ^ (bytes[i] >> 4)) & 15] ^ (crc >> 4);
  }
  return ~crc;
}

/* By the processor's own instruction where it has one: the checksum is what bounds a channel's throughput. */
#ifdef NANOBOX_OWN_CRC32C
uint32_t nanobox_crc32c(uint32_t crc, const void* data, size_t size);
#else
static inline uint32_t nanobox_crc32c(uint32_t crc, const void* data, size_t size) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return nanobox_crc32c_by_instruction(crc, data, size);
#endif
  return nanobox_crc32c_by_table(crc, data, size);
}
#endif

static inline void nanobox_put16(uint8_t* to, uint16_t value) {
  to[0] = (uint8_t)value;
  to[1] = (uint8_t)(value >> 8);
}
static inline void nanobox_put32(uint8_t* to, uint32_t value) {
  for (int i = 0; i < 4; ++i) to[i] = (uint8_t)(value >> (8 * i));
}
static inline void nanobox_put64(uint8_t* to, uint64_t value) {
  for (int i = 0; i < 8; ++i) to[i] = (uint8_t)(value >> (8 * i));
}
static inline uint16_t nanobox_get16(const uint8_t* from) {
  return (uint16_t)(from[0] | from[1] << 8);
}
static inline uint32_t nanobox_get32(const uint8_t* from) {
  return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}
static inline uint64_t nanobox_get64(const uint8_t* from) {
  return (uint64_t)nanobox_get32(from) | (uint64_t)nanobox_get32(from + 4) << 32;
}

/* Fills the 16 bytes before a payload. */
static inline void nanobox_put_header(uint8_t* header, uint8_t type, uint8_t flags, uint16_t part, uint32_t stream,
                                      const void* payload, uint32_t length) {
  header[0] = type;
  header[1] = flags;
  nanobox_put16(header + 2, part);
  nanobox_put32(header + 4, stream);
  nanobox_put32(header + 8, length);
  uint32_t crc = nanobox_crc32c(0, header, 12);
  crc = nanobox_crc32c(crc, payload, length);
  nanobox_put32(header + 12, crc ^ 0xFFFFFFFFu);
}

/* Whether the frame at `frame`, whole, has the right checksum. */
static inline int nanobox_frame_is_intact(const uint8_t* frame, uint32_t length) {
  uint32_t crc = nanobox_crc32c(0, frame, 12);
  crc = nanobox_crc32c(crc, frame + NANOBOX_FRAME_HEADER, length);
  return nanobox_get32(frame + 12) == (crc ^ 0xFFFFFFFFu);
}

#endif
