#include "checksum.h"

#include <stdbool.h>
#include <string.h>

#include "../protocol.h"
#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* What a word shifts away still has to fall into the four words behind it. */
enum { WORD = 8, BEHIND = 4 };

/* To emulate a load from memory costs ten times as much as to emulate a shift, so whole words need no table. Modulo
 * CRC-32C's polynomial 1 = x^-65 + x^-155 + x^-170 + x^-195 + x^-209: a bit of the message may be taken out if those
 * that come 65, 155, 170, 195 and 209 bits later are flipped instead. That empties all words but the last few.
 * After "Chorba: A novel CRC32 implementation", arXiv 2412.16398. */
uint32_t checksum_by_shifts(uint32_t crc, const void* data, size_t size) {
  const uint8_t* bytes = data;
  if (size < WORD * (BEHIND + 1)) return nanobox_crc32c_by_table(crc, data, size);
  uint64_t flips[BEHIND] = {(uint32_t)~crc};
#pragma GCC unroll 4
  for (; size >= WORD * (BEHIND + 1); size -= WORD, bytes += WORD) {
    const uint64_t word = nanobox_get64(bytes) ^ flips[0];
    flips[0] = flips[1] ^ word << 1;
    flips[1] = flips[2] ^ word >> 63 ^ word << 27 ^ word << 42;
    flips[2] = flips[3] ^ word >> 37 ^ word >> 22 ^ word << 3 ^ word << 17;
    flips[3] = word >> 61 ^ word >> 47;
  }
  uint8_t rest[WORD * (BEHIND + 1)];
  memcpy(rest, bytes, size);
  for (int i = 0; i < BEHIND; ++i) nanobox_put64(rest + WORD * i, nanobox_get64(rest + WORD * i) ^ flips[i]);
  return nanobox_crc32c_by_table(~0u, rest, size);
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
  return checksum_by_shifts(crc, data, size);
}
#endif
