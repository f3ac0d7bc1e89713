/* CONFIGURE: makes this copy of a guest itself. All of it holds before what QUIESCE froze runs again, and nothing of an
 * earlier one is left: the guest may be a copy of one that was somebody else. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

struct wishes {
  char hostname[65], resolver[65], cwd[sizeof image_cwd], user[sizeof image_user];
  bool has_user, rehearsal;
  uint64_t clock_ns, disk_bytes;
  struct tlv entropy;
};

/* Too long a text or one with NUL says nothing. */
static bool take_text(const struct tlv* entry, char* text, size_t size) {
  if (entry->length >= size || memchr(entry->value, 0, entry->length)) return false;
  memcpy(text, entry->value, entry->length);
  text[entry->length] = 0;
  return true;
}

static bool read_wishes(struct tlv_reader reader, struct wishes* wishes) {
  struct tlv entry;
  int more;
  while ((more = tlv_next(&reader, &entry)) > 0) {
    switch (entry.tag) {
      case NANOBOX_TAG_HOSTNAME:
        take_text(&entry, wishes->hostname, sizeof wishes->hostname);
        break;
      case NANOBOX_TAG_RESOLVER:
        take_text(&entry, wishes->resolver, sizeof wishes->resolver);
        break;
      case NANOBOX_TAG_CWD:
        take_text(&entry, wishes->cwd, sizeof wishes->cwd);
        break;
      case NANOBOX_TAG_USER:
        wishes->has_user = take_text(&entry, wishes->user, sizeof wishes->user);
        break;
      case NANOBOX_TAG_CLOCK_NS:
        wishes->clock_ns = tlv_u64(&entry);
        break;
      case NANOBOX_TAG_ENTROPY:
        wishes->entropy = entry;
        break;
      case NANOBOX_TAG_REHEARSAL:
        wishes->rehearsal = true;
        break;
      case NANOBOX_TAG_DISK_BYTES:
        wishes->disk_bytes = tlv_u64(&entry);
        break;
      default:
        break;
    }
  }
  return more == 0;
}

/* No process but init ran yet: nobody can see files that are written later. Writing them costs a copy its own pages of
 * the file system's code and journal, and 5 s later the disk's. */
static bool nobody_ran = true;
static struct {
  bool due;
  char hostname[sizeof((struct wishes*)NULL)->hostname], resolver[sizeof((struct wishes*)NULL)->resolver];
} files;

static void put(const char* path, const char* text) {
  if (!put_text(path, text, 0644)) say("nanobox-init: cannot write %s: %s", path, strerror(errno));
}

static void write_names(const char* hostname) {
  char text[256];
  snprintf(text, sizeof text, "%s\n", hostname);
  put("/etc/hostname", text);
  snprintf(text, sizeof text, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t%s\n",
           hostname);
  put("/etc/hosts", text);
}

/* Without a resolver the image's file stays, but not that of an earlier CONFIGURE. */
static void write_resolver(const char* address) {
  static bool ours;
  char text[128] = "";
  if (*address) snprintf(text, sizeof text, "nameserver %s\n", address);
  if (*address || ours) put("/etc/resolv.conf", text);
  ours = *address != 0;
}

static void write_files(void) {
  if (!files.due) return;
  files.due = false;
  write_names(files.hostname);
  write_resolver(files.resolver);
}

void before_a_process(void) {
  nobody_ran = false;
  write_files();
}

static void set_commands(struct tlv_reader reader, const struct wishes* wishes) {
  struct tlv entry;
  restore_image_settings();
  while (tlv_next(&reader, &entry) > 0) {
    char* text = entry.tag == NANOBOX_TAG_ENV ? tlv_text(&entry) : NULL;
    if (text) environment_set(&sandbox_environment, text);
    free(text);
  }
  if (*wishes->cwd) strcpy(image_cwd, wishes->cwd);
  if (wishes->has_user) strcpy(image_user, wishes->user);
}

void configure(const uint8_t* payload, uint32_t length) {
  const struct tlv_reader reader = {payload, payload + length};
  struct wishes wishes = {0};
  if (!read_wishes(reader, &wishes)) {
    channel_send_error(0, NANOBOX_REASON_BAD_REQUEST, 0, "CONFIGURE is malformed");
    return;
  }
  /* The host need not wait for it: its next frame is not looked at before all this is done, and nothing else runs. */
  channel_send(NANOBOX_CONFIGURE, 0, 0, 0, NULL, 0);
  session_settle();
  if (wishes.clock_ns) set_clock(wishes.clock_ns);
  add_entropy(wishes.entropy.value, wishes.entropy.length);
  set_commands(reader, &wishes);
  const char* name = *wishes.hostname ? wishes.hostname : "localhost";
  if (sethostname(name, strlen(name)) != 0) say("nanobox-init: cannot set the host name: %s", strerror(errno));
  files.due = true;
  strcpy(files.hostname, name);
  strcpy(files.resolver, wishes.resolver);
  if (!nobody_ran) write_files();
  grow_root(wishes.disk_bytes);
  note(wishes.rehearsal ? "rehearsed" : "configured");
  if (!wishes.rehearsal) commands_thaw();
}
