/* The file of a memory layer: the pages in which a guest's memory differs from its base file. C11 and C++20; the
 * daemon writes and reads it, the preload in a VMM (private_memory.c) maps it. Little-endian:
 *    0 magic "NBMEMLAY" · 8 version (u32) · 12 header checksum (u32) · 16 memory_bytes (u64) · 24 pages (u64)
 *   32 runs (u32) · 36 pages checksum (u32) · 40 zeros
 *   64 run table: first page (u32), pages (u32) of each; ascending, not overlapping, none empty
 *      page checksums: the CRC-32C of each page (u32)
 *      zeros up to a multiple of 4096, then the pages in order, and nothing behind them.
 * The header checksum is the CRC-32C of bytes 0-11, 16-63 and the run table; the pages checksum that of the page
 * checksums. So a page can be copied from layer to layer with its checksum, unread. */
#ifndef NANOBOX_MEMORY_LAYER_FORMAT_H
#define NANOBOX_MEMORY_LAYER_FORMAT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "guest/protocol.h"

#define NANOBOX_LAYER_MAGIC "NBMEMLAY"
#define NANOBOX_LAYER_VERSION 1
#define NANOBOX_LAYER_PAGE 4096u
#define NANOBOX_LAYER_HEADER 64u
#define NANOBOX_LAYER_RUN 8u
/* Each run is a mapping in the VMM, which may have 65530 of them. */
#define NANOBOX_LAYER_RUNS_MAX 4096u
#define NANOBOX_LAYER_TABLE_MAX (NANOBOX_LAYER_RUNS_MAX * NANOBOX_LAYER_RUN)

struct nanobox_layer_header {
  uint64_t memory_bytes;
  uint64_t pages;
  uint32_t runs;
  uint32_t header_checksum;
  uint32_t pages_checksum;
};

static inline uint64_t nanobox_layer_sums_offset(const struct nanobox_layer_header* header) {
  return NANOBOX_LAYER_HEADER + (uint64_t)header->runs * NANOBOX_LAYER_RUN;
}

static inline uint64_t nanobox_layer_pages_offset(const struct nanobox_layer_header* header) {
  const uint64_t end = nanobox_layer_sums_offset(header) + header->pages * 4;
  return (end + NANOBOX_LAYER_PAGE - 1) / NANOBOX_LAYER_PAGE * NANOBOX_LAYER_PAGE;
}

static inline uint32_t nanobox_layer_header_checksum(const uint8_t* header, const uint8_t* table, uint32_t runs) {
  uint32_t sum = nanobox_crc32c(0, header, 12);
  sum = nanobox_crc32c(sum, header + 16, NANOBOX_LAYER_HEADER - 16);
  return nanobox_crc32c(sum, table, (size_t)runs * NANOBOX_LAYER_RUN);
}

/* Reads the first NANOBOX_LAYER_HEADER bytes of a file of `file_bytes`. Returns what is wrong with it, or NULL. */
static inline const char* nanobox_layer_read_header(const uint8_t* bytes, uint64_t file_bytes,
                                                    struct nanobox_layer_header* header) {
  if (memcmp(bytes, NANOBOX_LAYER_MAGIC, 8) != 0) return "it is no memory layer";
  if (nanobox_get32(bytes + 8) != NANOBOX_LAYER_VERSION) return "it has an unknown format version";
  header->header_checksum = nanobox_get32(bytes + 12);
  header->memory_bytes = nanobox_get64(bytes + 16);
  header->pages = nanobox_get64(bytes + 24);
  header->runs = nanobox_get32(bytes + 32);
  header->pages_checksum = nanobox_get32(bytes + 36);
  if (header->memory_bytes == 0 || header->memory_bytes % NANOBOX_LAYER_PAGE != 0 ||
      header->memory_bytes / NANOBOX_LAYER_PAGE > UINT32_MAX)
    return "its memory size is out of bounds";
  if (header->runs > NANOBOX_LAYER_RUNS_MAX) return "it has too many runs";
  if (header->pages > header->memory_bytes / NANOBOX_LAYER_PAGE) return "it has more pages than the memory";
  if (file_bytes != nanobox_layer_pages_offset(header) + header->pages * NANOBOX_LAYER_PAGE)
    return "its size is not what its header says";
  return NULL;
}

/* Checks the run table, and header and table against their checksum. Returns what is wrong, or NULL. */
static inline const char* nanobox_layer_check_runs(const struct nanobox_layer_header* header, const uint8_t* bytes,
                                                   const uint8_t* table) {
  if (nanobox_layer_header_checksum(bytes, table, header->runs) != header->header_checksum)
    return "its header or run table is damaged";
  uint64_t end = 0, pages = 0;
  for (uint32_t run = 0; run < header->runs; ++run) {
    const uint64_t first = nanobox_get32(table + (size_t)run * NANOBOX_LAYER_RUN);
    const uint64_t count = nanobox_get32(table + (size_t)run * NANOBOX_LAYER_RUN + 4);
    if (count == 0 || first < end) return "its runs are empty, out of order or overlap";
    end = first + count;
    pages += count;
    if (end > header->memory_bytes / NANOBOX_LAYER_PAGE) return "a run lies behind the memory's end";
  }
  if (pages != header->pages) return "its runs do not add up to its pages";
  return NULL;
}

#endif
