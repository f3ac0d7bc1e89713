#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

extern "C" {
#include "guest/init/tar.h"
}

namespace {

struct Input {
  const std::uint8_t* at;
  std::size_t left;
};

std::size_t read_input(void* context, std::uint8_t* bytes, std::size_t size) {
  auto& input = *static_cast<Input*>(context);
  size = std::min(size, input.left);
  std::memcpy(bytes, input.at, size);
  input.at += size;
  input.left -= size;
  return size;
}

// The checksum would keep a fuzzer from everything behind it: each block that is not data gets a right one.
void seal(std::uint8_t* block) {
  unsigned sum = 8 * ' ';
  for (std::size_t i = 0; i < TAR_BLOCK; ++i)
    if (i < 148 || i >= 156) sum += block[i];
  for (std::size_t i = 154; i-- > 148; sum >>= 3) block[i] = static_cast<std::uint8_t>('0' + (sum & 7));
  block[154] = 0;
  block[155] = ' ';
}

}  // namespace

// Whatever is unpacked, entries hold to their bounds, and the reader ends.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const auto sealed = std::make_unique<std::uint8_t[]>(size);
  std::memcpy(sealed.get(), data, size);
  for (std::size_t at = 1; (data[0] & 1) != 0 && at + TAR_BLOCK <= size; at += TAR_BLOCK) seal(sealed.get() + at);
  Input input{sealed.get() + 1, size - 1};
  tar_reader reader{};
  reader.read = read_input;
  reader.context = &input;
  const auto entry = std::make_unique<tar_entry>();
  tar_problem problem{};
  std::uint8_t bytes[1000];
  std::uint8_t header[TAR_HEADER_MAX];
  while (tar_next(&reader, entry.get(), &problem) > 0) {
    if (std::memchr(entry->name, 0, sizeof entry->name) == nullptr || entry->name[0] == 0) std::abort();
    if (std::memchr(entry->link, 0, sizeof entry->link) == nullptr) std::abort();
    if (entry->mode > 07777 || entry->mtime_ns >= 1'000'000'000) std::abort();
    if (tar_header(entry.get(), header) > sizeof header) std::abort();
    std::uint64_t read = 0;
    while (const auto count = tar_data(&reader, bytes, sizeof bytes)) read += count;
    if (read > entry->size || (read < entry->size && input.left > 0)) std::abort();
  }
  return 0;
}
