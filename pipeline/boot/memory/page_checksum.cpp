#include "pipeline/boot/memory/page_checksum.hpp"

#include <cstring>

#include "guest/protocol.h"
#include "pipeline/boot/memory/page_run.hpp"

namespace nanobox {

namespace {

#if defined(__x86_64__)
// The instruction takes three cycles but can start each cycle: three pages at once take as long as one.
__attribute__((target("sse4.2"))) void checksum_three(const std::byte* pages, std::uint32_t* checksums) {
  std::uint64_t first = 0xFFFFFFFF, second = 0xFFFFFFFF, third = 0xFFFFFFFF;
  for (std::size_t at = 0; at < page_bytes; at += 8) {
    std::uint64_t words[3];
    std::memcpy(&words[0], pages + at, 8);
    std::memcpy(&words[1], pages + page_bytes + at, 8);
    std::memcpy(&words[2], pages + 2 * page_bytes + at, 8);
    first = __builtin_ia32_crc32di(first, words[0]);
    second = __builtin_ia32_crc32di(second, words[1]);
    third = __builtin_ia32_crc32di(third, words[2]);
  }
  checksums[0] = ~static_cast<std::uint32_t>(first);
  checksums[1] = ~static_cast<std::uint32_t>(second);
  checksums[2] = ~static_cast<std::uint32_t>(third);
}
#endif

}  // namespace

bool is_zero_page(const std::byte* page) {
  for (std::size_t at = 0; at < page_bytes; at += 64) {
    std::uint64_t words[8];
    std::memcpy(words, page + at, sizeof words);
    if ((words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7]) != 0) return false;
  }
  return true;
}

void checksum_pages(std::span<const std::byte> pages, std::span<std::uint32_t> checksums) {
  std::size_t page = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2"))
    for (; page + 3 <= checksums.size(); page += 3) checksum_three(&pages[page * page_bytes], &checksums[page]);
#endif
  for (; page < checksums.size(); ++page) checksums[page] = nanobox_crc32c(0, &pages[page * page_bytes], page_bytes);
}

}  // namespace nanobox
