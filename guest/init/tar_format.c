#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../protocol.h"
#include "tar.h"

#define EXTENDED_MAX 65536u

/* POSIX.1-1988's header, a block long. */
struct header {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2];
  char user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};

static int refuse(struct tar_problem* problem, const char* text) {
  *problem = (struct tar_problem){.reason = NANOBOX_REASON_ARCHIVE};
  snprintf(problem->text, sizeof problem->text, "%s", text);
  return -1;
}

/* Octal, or (GNU) binary with the first bit set. */
static int64_t number(const char* field, size_t size) {
  int64_t value = 0;
  if (field[0] & 0x80) {
    uint64_t binary = (field[0] & 0x40) ? UINT64_MAX : 0;
    for (size_t i = 0; i < size; ++i)
      binary = binary << 8 | (uint8_t)(i ? field[i] : (field[0] & 0x40) ? 0xFF : field[0] & 0x3F);
    return (int64_t)binary;
  }
  size_t i = 0;
  while (i < size && field[i] == ' ') ++i;
  for (; i < size && field[i] >= '0' && field[i] <= '7'; ++i)
    value = (int64_t)((uint64_t)value << 3) | (field[i] - '0');
  return value;
}

static bool checksum_is_right(const struct header* header) {
  const uint8_t* bytes = (const uint8_t*)header;
  const size_t field = offsetof(struct header, checksum);
  int64_t positive = 0, with_signs = 0; /* old programs summed signed bytes */
  for (size_t i = 0; i < sizeof *header; ++i) {
    const uint8_t byte = i >= field && i < field + sizeof header->checksum ? ' ' : bytes[i];
    positive += byte;
    with_signs += (int8_t)byte;
  }
  const int64_t wanted = number(header->checksum, sizeof header->checksum);
  return wanted == positive || wanted == with_signs;
}

size_t tar_data(struct tar_reader* reader, uint8_t* bytes, size_t size) {
  if (size > reader->left) size = (size_t)reader->left;
  if (size == 0) return 0;
  const size_t count = reader->read(reader->context, bytes, size);
  reader->left -= count;
  return count;
}

static bool skip(struct tar_reader* reader) {
  uint8_t bytes[4096];
  for (reader->left += reader->padding, reader->padding = 0; reader->left > 0;)
    if (tar_data(reader, bytes, sizeof bytes) == 0) return false;
  return true;
}

static bool copy_text(char to[TAR_NAME_MAX + 1], const char* from, size_t size) {
  size = strnlen(from, size);
  if (size > TAR_NAME_MAX) return false;
  memcpy(to, from, size);
  to[size] = 0;
  return true;
}

/* What extended headers said about the next entry. */
struct extended {
  struct tar_entry entry;
  bool name, link, uid, gid, size, mtime;
};

static bool take_record(struct extended* extended, const char* key, char* value, size_t size) {
  struct tar_entry* entry = &extended->entry;
  char* end = value;
  if (!strcmp(key, "path")) return extended->name = copy_text(entry->name, value, size) && !memchr(value, 0, size);
  if (!strcmp(key, "linkpath")) return extended->link = copy_text(entry->link, value, size) && !memchr(value, 0, size);
  if (!strcmp(key, "uid")) {
    entry->uid = (uint32_t)strtoul(value, &end, 10);
    extended->uid = true;
  } else if (!strcmp(key, "gid")) {
    entry->gid = (uint32_t)strtoul(value, &end, 10);
    extended->gid = true;
  } else if (!strcmp(key, "size")) {
    entry->size = strtoull(value, &end, 10);
    extended->size = true;
  } else if (!strcmp(key, "mtime")) {
    entry->mtime = strtoll(value, &end, 10);
    entry->mtime_ns = 0;
    if (*end == '.') {
      uint32_t unit = 100000000;
      for (++end; *end >= '0' && *end <= '9'; ++end, unit /= 10) entry->mtime_ns += unit * (uint32_t)(*end - '0');
      if (*value == '-' && entry->mtime_ns) { /* -1.25 is -2 seconds and 0.75 */
        --entry->mtime;
        entry->mtime_ns = 1000000000 - entry->mtime_ns;
      }
    }
    extended->mtime = true;
  } else {
    return true;
  }
  return end != value && *end == 0;
}

/* Records "LENGTH KEY=VALUE\n", the length of all of itself. */
static bool take_records(struct extended* extended, char* text, size_t size) {
  while (size > 0) {
    char* end = text;
    if (*text < '1' || *text > '9') return false;
    const unsigned long length = strtoul(text, &end, 10);
    if (*end != ' ' || length > size || length < (size_t)(end - text) + 3 || text[length - 1] != '\n') return false;
    char* key = end + 1;
    char* equals = memchr(key, '=', length - (size_t)(key - text));
    if (!equals) return false;
    *equals = text[length - 1] = 0;
    if (!take_record(extended, key, equals + 1, length - 1 - (size_t)(equals + 1 - text))) return false;
    text += length;
    size -= length;
  }
  return true;
}

static bool is_zero(const struct header* header) {
  const uint8_t* bytes = (const uint8_t*)header;
  for (size_t i = 0; i < sizeof *header; ++i)
    if (bytes[i]) return false;
  return true;
}

static bool take_names(const struct header* header, struct tar_entry* entry) {
  size_t used = 0;
  if (memcmp(header->magic, "ustar\0", 6) == 0 && header->prefix[0]) {
    used = strnlen(header->prefix, sizeof header->prefix);
    memcpy(entry->name, header->prefix, used);
    entry->name[used++] = '/';
  }
  const size_t length = strnlen(header->name, sizeof header->name);
  memcpy(entry->name + used, header->name, length);
  entry->name[used + length] = 0;
  return copy_text(entry->link, header->link, sizeof header->link);
}

static int take_entry(struct tar_reader* reader, const struct header* header, const struct extended* extended,
                      struct tar_entry* entry, struct tar_problem* problem) {
  take_names(header, entry);
  entry->mode = (uint32_t)number(header->mode, sizeof header->mode) & 07777;
  entry->uid = extended->uid ? extended->entry.uid : (uint32_t)number(header->uid, sizeof header->uid);
  entry->gid = extended->gid ? extended->entry.gid : (uint32_t)number(header->gid, sizeof header->gid);
  entry->mtime = extended->mtime ? extended->entry.mtime : number(header->mtime, sizeof header->mtime);
  entry->mtime_ns = extended->mtime ? extended->entry.mtime_ns : 0;
  entry->major = (uint32_t)number(header->major, sizeof header->major);
  entry->minor = (uint32_t)number(header->minor, sizeof header->minor);
  if (extended->name) strcpy(entry->name, extended->entry.name);
  if (extended->link) strcpy(entry->link, extended->entry.link);
  const uint64_t size = extended->size ? extended->entry.size : (uint64_t)number(header->size, sizeof header->size);
  const size_t length = strlen(entry->name);
  entry->type = header->type ? header->type : TAR_FILE;
  if (entry->type == '7') entry->type = TAR_FILE; /* contiguous */
  if (entry->type == TAR_FILE && length && entry->name[length - 1] == '/') entry->type = TAR_FOLDER;
  if (entry->type < TAR_FILE || entry->type > TAR_FIFO) {
    char text[64];
    snprintf(text, sizeof text, "it holds an entry of the unknown type 0x%02x", (uint8_t)entry->type);
    return refuse(problem, text);
  }
  if (length == 0) return refuse(problem, "it holds an entry without a name");
  entry->size = entry->type == TAR_FILE ? size : 0;
  if (entry->size > INT64_MAX) return refuse(problem, "it holds an entry of a size that cannot be");
  reader->left = entry->size;
  reader->padding = (uint32_t)(-entry->size % TAR_BLOCK);
  return 1;
}

/* Reads the data of an extended header into `text`, and ends it with a NUL. */
static bool read_extended(struct tar_reader* reader, uint64_t size, char* text) {
  reader->left = size;
  reader->padding = (uint32_t)(-size % TAR_BLOCK);
  if (size > EXTENDED_MAX || tar_data(reader, (uint8_t*)text, (size_t)size) != size) return false;
  text[size] = 0;
  return skip(reader);
}

int tar_next(struct tar_reader* reader, struct tar_entry* entry, struct tar_problem* problem) {
  static char text[EXTENDED_MAX + 1];
  static struct extended extended;
  extended = (struct extended){.name = false};
  if (!skip(reader)) return refuse(problem, "it is cut off");
  for (;;) {
    struct header header;
    const size_t count = reader->read(reader->context, (uint8_t*)&header, sizeof header);
    if (count == 0 && reader->begun) return 0;
    if (count < sizeof header) return refuse(problem, reader->begun ? "it is cut off" : "it is no tar archive");
    const bool begun = reader->begun;
    reader->begun = true;
    if (is_zero(&header)) return 0;
    if (!checksum_is_right(&header))
      return refuse(problem, begun ? "it holds a header with a wrong checksum" : "it is no tar archive");
    const uint64_t size = (uint64_t)number(header.size, sizeof header.size);
    switch (header.type) {
      case 'x':
        if (!read_extended(reader, size, text) || !take_records(&extended, text, (size_t)size))
          return refuse(problem, "it holds a malformed extended header");
        break;
      case 'L':
      case 'K':
        if (!read_extended(reader, size, text) ||
            !copy_text(header.type == 'L' ? extended.entry.name : extended.entry.link, text, (size_t)size))
          return refuse(problem, "it holds a malformed long name");
        *(header.type == 'L' ? &extended.name : &extended.link) = true;
        break;
      case 'g': /* for all that follows: nothing that is kept */
      case 'V':
        reader->left = size > INT64_MAX ? 0 : size;
        reader->padding = (uint32_t)(-size % TAR_BLOCK);
        if (!skip(reader)) return refuse(problem, "it is cut off");
        break;
      default:
        return take_entry(reader, &header, &extended, entry, problem);
    }
  }
}

static void put_octal(char* field, size_t size, uint64_t value) {
  field[--size] = 0;
  while (size > 0) {
    field[--size] = (char)('0' + (value & 7));
    value >>= 3;
  }
}

static bool fits(uint64_t value, size_t size) {
  return value >> (3 * (size - 1)) == 0;
}

/* Splits a long name at a slash into prefix and name; false where that cannot be. */
static bool put_name(struct header* header, const char* name) {
  const size_t length = strlen(name);
  if (length <= sizeof header->name) {
    memcpy(header->name, name, length);
    return true;
  }
  for (size_t slash = length - sizeof header->name - 1; slash < length - 1 && slash <= sizeof header->prefix; ++slash)
    if (slash > 0 && name[slash] == '/') {
      memcpy(header->prefix, name, slash);
      memcpy(header->name, name + slash + 1, length - slash - 1);
      return true;
    }
  memcpy(header->name, name, sizeof header->name);
  return false;
}

static void seal(struct header* header, char type) {
  header->type = type;
  memcpy(header->magic, "ustar", 6);
  memcpy(header->version, "00", 2);
  memset(header->checksum, ' ', sizeof header->checksum);
  uint64_t sum = 0;
  for (size_t i = 0; i < sizeof *header; ++i) sum += ((const uint8_t*)header)[i];
  put_octal(header->checksum, sizeof header->checksum - 1, sum);
}

/* A record's length counts its own digits. */
static size_t put_record(char* text, const char* key, const char* value) {
  const size_t rest = strlen(key) + strlen(value) + 3;
  size_t length = rest + 1;
  while (length != rest + (size_t)snprintf(NULL, 0, "%zu", length)) ++length;
  return (size_t)sprintf(text, "%zu %s=%s\n", length, key, value);
}

static size_t put_number(char* text, const char* key, long long value) {
  char digits[32];
  snprintf(digits, sizeof digits, "%lld", value);
  return put_record(text, key, digits);
}

size_t tar_header(const struct tar_entry* entry, uint8_t bytes[TAR_HEADER_MAX]) {
  struct header header = {0};
  char* text = (char*)bytes + TAR_BLOCK;
  size_t used = 0;
  if (!put_name(&header, entry->name)) used += put_record(text + used, "path", entry->name);
  const size_t link = strlen(entry->link);
  memcpy(header.link, entry->link, link < sizeof header.link ? link : sizeof header.link);
  if (link > sizeof header.link) used += put_record(text + used, "linkpath", entry->link);
  if (!fits(entry->uid, sizeof header.uid)) used += put_number(text + used, "uid", entry->uid);
  if (!fits(entry->gid, sizeof header.gid)) used += put_number(text + used, "gid", entry->gid);
  if (!fits(entry->size, sizeof header.size)) used += put_number(text + used, "size", (long long)entry->size);
  const bool early = entry->mtime < 0 || !fits((uint64_t)entry->mtime, sizeof header.mtime);
  if (early) used += put_number(text + used, "mtime", entry->mtime);
  put_octal(header.mode, sizeof header.mode, entry->mode);
  put_octal(header.uid, sizeof header.uid, entry->uid);
  put_octal(header.gid, sizeof header.gid, entry->gid);
  put_octal(header.size, sizeof header.size, entry->size);
  put_octal(header.mtime, sizeof header.mtime, early ? 0 : (uint64_t)entry->mtime);
  put_octal(header.major, sizeof header.major, entry->major);
  put_octal(header.minor, sizeof header.minor, entry->minor);
  seal(&header, entry->type);
  if (used == 0) {
    memcpy(bytes, &header, sizeof header);
    return sizeof header;
  }
  struct header extension = {.name = "././@PaxHeader"};
  put_octal(extension.mode, sizeof extension.mode, 0644);
  put_octal(extension.uid, sizeof extension.uid, 0);
  put_octal(extension.gid, sizeof extension.gid, 0);
  put_octal(extension.size, sizeof extension.size, used);
  put_octal(extension.mtime, sizeof extension.mtime, 0);
  seal(&extension, 'x');
  memcpy(bytes, &extension, sizeof extension);
  const size_t padding = -used % TAR_BLOCK;
  memset(text + used, 0, padding);
  memcpy(text + used + padding, &header, sizeof header);
  return 2 * TAR_BLOCK + used + padding;
}
