#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "stream.h"

#define FEATURES                                                                                       \
  (NANOBOX_FEATURE_EXEC | NANOBOX_FEATURE_STATS | NANOBOX_FEATURE_ATTACH | NANOBOX_FEATURE_PROCESSES | \
   NANOBOX_FEATURE_TERMINAL | NANOBOX_FEATURE_FILES | NANOBOX_FEATURE_TCP | NANOBOX_FEATURE_LOG)

static bool greeted;
/* A HELLO was answered, and what the former session left was not yet let go. */
static bool unsettled;

static void hello(const uint8_t* payload, uint32_t length) {
  struct tlv_reader reader = {payload, payload + length};
  struct tlv entry;
  TLV_WRITER(writer, NANOBOX_HELLO_MAX);
  const uint8_t* nonce = NULL;
  while (tlv_next(&reader, &entry) > 0)
    if (entry.tag == NANOBOX_TAG_NONCE && entry.length == NANOBOX_NONCE_BYTES) nonce = entry.value;
  if (!nonce) return;
  static uint8_t last_nonce[NANOBOX_NONCE_BYTES];
  const bool repeated = (greeted || unsettled) && memcmp(nonce, last_nonce, sizeof last_nonce) == 0;
  if (!repeated) { /* a repeated HELLO is the same session */
    memcpy(last_nonce, nonce, sizeof last_nonce);
    channel_reset_output();
  }
  static char boot_id[64];
  FILE* file = *boot_id ? NULL : fopen("/proc/sys/kernel/random/boot_id", "re");
  if (file && fgets(boot_id, sizeof boot_id, file)) boot_id[strcspn(boot_id, "\n")] = 0;
  if (file) fclose(file);
  tlv_put_u32(&writer, NANOBOX_TAG_VERSION, NANOBOX_PROTOCOL_VERSION);
  tlv_put(&writer, NANOBOX_TAG_NONCE, nonce, NANOBOX_NONCE_BYTES);
  tlv_put(&writer, NANOBOX_TAG_BOOT_ID, boot_id, (uint32_t)strlen(boot_id));
  tlv_put_u64(&writer, NANOBOX_TAG_FEATURES, FEATURES);
  channel_send(NANOBOX_HELLO_ACK, 0, 0, 0, writer.bytes, writer.used);
  if (repeated) return;
  unsettled = true;
}

void session_settle(void) {
  if (!unsettled) return;
  unsettled = false;
  if (greeted) { /* what QUIESCE froze stays frozen */
    streams_silence(false);
    streams_lose_all();
    commands_pump();
  }
  note(greeted ? "a new session began: what the former one left runs on" : "the first session began");
  greeted = true;
}

static void ping(const uint8_t* payload, uint32_t length) {
  struct tlv_reader reader = {payload, payload + length};
  struct tlv entry;
  while (tlv_next(&reader, &entry) > 0)
    if (entry.tag == NANOBOX_TAG_CLOCK_NS) follow_clock(tlv_u64(&entry));
  channel_send(NANOBOX_PONG, 0, 0, 0, payload, length < 256 ? length : 0);
}

static void stats(void) {
  uint64_t total_kb = 0, available_kb = 0;
  TLV_WRITER(writer, 128);
  read_memory(&total_kb, &available_kb);
  tlv_put_u64(&writer, NANOBOX_TAG_UPTIME_MS, now_ms());
  tlv_put_u64(&writer, NANOBOX_TAG_MEMORY_KB, total_kb);
  tlv_put_u64(&writer, NANOBOX_TAG_AVAILABLE_KB, available_kb);
  tlv_put_u32(&writer, NANOBOX_TAG_COMMANDS, commands_running());
  channel_send(NANOBOX_STATS, 0, 0, 0, writer.bytes, writer.used);
}

static void quiesce(struct tlv_reader entries) {
  const bool frozen = commands_quiesce();
  if (frozen && tlv_has(entries, NANOBOX_TAG_SYNC)) sync();
  if (frozen)
    channel_send(NANOBOX_QUIESCE, 0, 0, 0, NULL, 0);
  else
    channel_send_error(0, NANOBOX_REASON_NO_RESOURCES, 0, "the commands did not freeze in time");
}

static void open_stream(uint32_t stream, struct tlv_reader arguments) {
  const uint32_t kind = tlv_find_u32(arguments, NANOBOX_TAG_KIND);
  if (stream == 0 || stream_exists(stream)) {
    channel_send_error(stream, NANOBOX_REASON_BAD_REQUEST, 0, "a stream needs a new number");
    return;
  }
  switch (kind) {
    case NANOBOX_KIND_EXEC:
      exec_open(stream, arguments);
      break;
    case NANOBOX_KIND_ATTACH:
      attach_open(stream, arguments);
      break;
    case NANOBOX_KIND_INPUT:
      input_open(stream, arguments);
      break;
    case NANOBOX_KIND_PROCESSES:
      processes_open(stream);
      break;
    case NANOBOX_KIND_SIGNAL:
      process_signal_open(stream, arguments);
      break;
    case NANOBOX_KIND_FORGET:
      process_forget_open(stream, arguments);
      break;
    case NANOBOX_KIND_FILE_READ:
    case NANOBOX_KIND_FILE_WRITE:
    case NANOBOX_KIND_FILE_STAT:
    case NANOBOX_KIND_FILE_LIST:
    case NANOBOX_KIND_FILE_REMOVE:
    case NANOBOX_KIND_FILE_RENAME:
    case NANOBOX_KIND_FOLDER_MAKE:
    case NANOBOX_KIND_ARCHIVE_READ:
    case NANOBOX_KIND_ARCHIVE_WRITE:
      worker_open(stream, kind, arguments);
      break;
    case NANOBOX_KIND_TCP:
      tcp_open(stream, arguments);
      break;
    case NANOBOX_KIND_LOG:
      log_open(stream, arguments);
      break;
    default:
      channel_send_error(stream, NANOBOX_REASON_UNKNOWN_TYPE, 0, "this guest knows no such kind of stream");
      break;
  }
}

void session_frame(uint8_t type, uint8_t flags, uint16_t part, uint32_t stream, const uint8_t* payload,
                   uint32_t length) {
  (void)part;
  const struct tlv_reader entries = {payload, payload + length};
  if (type == NANOBOX_HELLO) {
    hello(payload, length);
    return;
  }
  if (!greeted && !unsettled) return;
  if (type == NANOBOX_CONFIGURE) { /* settles once it has answered */
    configure(payload, length);
    return;
  }
  session_settle();
  switch (type) {
    case NANOBOX_QUIESCE:
      quiesce(entries);
      break;
    case NANOBOX_THAW:
      commands_thaw();
      channel_send(NANOBOX_THAW, 0, 0, 0, NULL, 0);
      break;
    case NANOBOX_PING:
      ping(payload, length);
      break;
    case NANOBOX_STATS:
      stats();
      break;
    case NANOBOX_SHUTDOWN:
      commands_end_all();
      end_machine();
    case NANOBOX_OPEN:
      open_stream(stream, entries);
      break;
    case NANOBOX_DATA:
      streams_data(stream, payload, length, flags & NANOBOX_FLAG_LAST);
      break;
    case NANOBOX_WINDOW:
      streams_window(stream, tlv_find_u32(entries, NANOBOX_TAG_CREDIT));
      break;
    case NANOBOX_SIGNAL:
      streams_signal(stream, (int)tlv_find_u32(entries, NANOBOX_TAG_SIGNAL));
      break;
    case NANOBOX_RESIZE:
      streams_resize(stream, (uint16_t)tlv_find_u32(entries, NANOBOX_TAG_COLUMNS),
                     (uint16_t)tlv_find_u32(entries, NANOBOX_TAG_ROWS));
      break;
    case NANOBOX_CLOSE:
      streams_close(stream);
      break;
    default:
      channel_send_error(stream, NANOBOX_REASON_UNKNOWN_TYPE, 0, "this guest knows no such frame");
      break;
  }
}
