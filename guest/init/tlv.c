#include <stdlib.h>
#include <string.h>

#include "init.h"

int tlv_next(struct tlv_reader* reader, struct tlv* entry) {
  const size_t left = (size_t)(reader->end - reader->at);
  if (left == 0) return 0;
  if (left < 6) return -1;
  entry->tag = nanobox_get16(reader->at);
  entry->length = nanobox_get32(reader->at + 2);
  if (entry->length > left - 6) return -1;
  entry->value = reader->at + 6;
  reader->at += 6 + entry->length;
  return 1;
}

char* tlv_text(const struct tlv* entry) {
  if (memchr(entry->value, 0, entry->length)) return NULL;
  char* text = malloc((size_t)entry->length + 1);
  if (!text) return NULL;
  memcpy(text, entry->value, entry->length);
  text[entry->length] = 0;
  return text;
}

uint32_t tlv_u32(const struct tlv* entry) {
  return entry->length == 4 ? nanobox_get32(entry->value) : 0;
}
uint64_t tlv_u64(const struct tlv* entry) {
  return entry->length == 8 ? nanobox_get64(entry->value) : 0;
}

void tlv_put(struct tlv_writer* writer, uint16_t tag, const void* value, uint32_t length) {
  if (writer->size - writer->used < 6 || length > writer->size - writer->used - 6) return;
  nanobox_put16(writer->bytes + writer->used, tag);
  nanobox_put32(writer->bytes + writer->used + 2, length);
  if (length) memcpy(writer->bytes + writer->used + 6, value, length);
  writer->used += 6 + length;
}

void tlv_put_u32(struct tlv_writer* writer, uint16_t tag, uint32_t value) {
  uint8_t bytes[4];
  nanobox_put32(bytes, value);
  tlv_put(writer, tag, bytes, 4);
}

void tlv_put_u64(struct tlv_writer* writer, uint16_t tag, uint64_t value) {
  uint8_t bytes[8];
  nanobox_put64(bytes, value);
  tlv_put(writer, tag, bytes, 8);
}

bool tlv_find(struct tlv_reader reader, uint16_t tag, struct tlv* entry) {
  while (tlv_next(&reader, entry) > 0)
    if (entry->tag == tag) return true;
  return false;
}

uint32_t tlv_find_u32(struct tlv_reader reader, uint16_t tag) {
  struct tlv entry;
  return tlv_find(reader, tag, &entry) ? tlv_u32(&entry) : 0;
}

uint64_t tlv_find_u64(struct tlv_reader reader, uint16_t tag) {
  struct tlv entry;
  return tlv_find(reader, tag, &entry) ? tlv_u64(&entry) : 0;
}

bool tlv_has(struct tlv_reader reader, uint16_t tag) {
  struct tlv entry;
  return tlv_find(reader, tag, &entry);
}
