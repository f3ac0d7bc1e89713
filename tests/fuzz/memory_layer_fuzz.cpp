// A memory layer's header and tables, from outside bytes. Their checksums are set right first, or nothing behind them
// would be reached; the first byte says whether.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "config/unique_fd.hpp"
#include "pipeline/boot/memory/memory_layer.hpp"
#include "pipeline/boot/memory/memory_layer_format.h"

namespace {

using namespace nanobox;

void set_checksums(std::vector<std::uint8_t>& bytes) {
  nanobox_layer_header header{};
  if (bytes.size() < NANOBOX_LAYER_HEADER) return;
  if (nanobox_layer_read_header(bytes.data(), bytes.size(), &header) != nullptr) return;
  const auto* sums = bytes.data() + nanobox_layer_sums_offset(&header);
  nanobox_put32(bytes.data() + 36, nanobox_crc32c(0, sums, header.pages * 4));
  nanobox_put32(bytes.data() + 12,
                nanobox_layer_header_checksum(bytes.data(), bytes.data() + NANOBOX_LAYER_HEADER, header.runs));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > 1U << 20) return 0;
  std::vector<std::uint8_t> bytes(data + 1, data + size);
  if (data[0] % 8 != 0) {
    // A size that fits: it is the first thing to be wrong.
    nanobox_layer_header header{};
    if (bytes.size() >= NANOBOX_LAYER_HEADER) {
      header.runs = nanobox_get32(bytes.data() + 32);
      header.pages = nanobox_get64(bytes.data() + 24);
      if (header.runs <= NANOBOX_LAYER_RUNS_MAX && header.pages < 64)
        bytes.resize(nanobox_layer_pages_offset(&header) + header.pages * NANOBOX_LAYER_PAGE);
    }
    set_checksums(bytes);
  }
  UniqueFd file(::memfd_create("layer", MFD_CLOEXEC));
  if (::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) std::abort();
  const auto layer = read_memory_layer(std::move(file), "layer");
  if (!layer) return 0;
  // What was accepted holds what it promises.
  if (!are_in_order(layer->runs, layer->memory_bytes / page_bytes)) std::abort();
  if (layer->runs.size() > NANOBOX_LAYER_RUNS_MAX) std::abort();
  if (count_pages(layer->runs) != layer->page_checksums.size()) std::abort();
  if (layer->pages_offset % page_bytes != 0) std::abort();
  if (layer->pages_offset + layer->page_checksums.size() * page_bytes != bytes.size()) std::abort();
  (void)verify_pages(*layer);
  return 0;
}
