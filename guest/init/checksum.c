#include "checksum.h"

#include <stdbool.h>
#include <string.h>

#include "../protocol.h"
#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* "Slicing by 8": tables[i][b] is the sum of b with i zero bytes behind it. */
static uint32_t tables[8][256];

static void fill_tables(void) {
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t sum = byte;
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1) ^ (sum & 1 ? 0x82F63B78u : 0);
    tables[0][byte] = sum;
  }
  for (int i = 1; i < 8; ++i)
    for (uint32_t byte = 0; byte < 256; ++byte)
      tables[i][byte] = (tables[i - 1][byte] >> 8) ^ tables[0][tables[i - 1][byte] & 255];
}

uint32_t checksum_by_tables(uint32_t crc, const void* data, size_t size) {
  const uint8_t* bytes = data;
  if (tables[0][1] == 0) fill_tables();
  crc = ~crc;
  for (; size >= 8; size -= 8, bytes += 8) {
    const uint64_t word = nanobox_get64(bytes) ^ crc;
    crc = tables[7][word & 255] ^ tables[6][word >> 8 & 255] ^ tables[5][word >> 16 & 255] ^
          tables[4][word >> 24 & 255] ^ tables[3][word >> 32 & 255] ^ tables[2][word >> 40 & 255] ^
          tables[1][word >> 48 & 255] ^ tables[0][word >> 56];
  }
  for (; size > 0; --size) crc = tables[0][(crc ^ *bytes++) & 255] ^ (crc >> 8);
  return ~crc;
}

#ifdef NANOBOX_OWN_CRC32C
#if defined(__x86_64__)
/* QEMU's emulation goes through the instruction's operand bit by bit. */
static bool instruction_is_fast(void) {
  uint32_t eax, name[3];
  if (!__builtin_cpu_supports("sse4.2")) return false;
  __cpuid(0x40000000, eax, name[0], name[1], name[2]);
  return memcmp(name, "TCGTCGTCGTCG", sizeof name) != 0;
}
#endif

uint32_t nanobox_crc32c(uint32_t crc, const void* data, size_t size) {
#if defined(__x86_64__)
  static int fast = -1;
  if (fast < 0) fast = instruction_is_fast();
  if (fast) return nanobox_crc32c_by_instruction(crc, data, size);
#endif
  return checksum_by_tables(crc, data, size);
}
#endif
