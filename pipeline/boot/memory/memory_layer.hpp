#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/boot/memory/page_run.hpp"

namespace nanobox {

/// A file of the pages in which a guest's memory differs from its base file (memory_layer_format.h).
struct MemoryLayer {
  std::filesystem::path path;
  UniqueFd file;  ///< open for reading; send_memory_layer passes it on
  std::uint64_t memory_bytes = 0;
  std::vector<PageRun> runs;
  std::uint64_t pages_offset = 0;             ///< in the file, in bytes; there the pages of `runs` lie in order
  std::vector<std::uint32_t> page_checksums;  ///< CRC-32C of each of them
};

/// Opens a layer; header and tables are checked against their checksums and the file's real size, the pages are not
/// read. Blocking. @errors file_unreadable, naming file and reason
Result<MemoryLayer> open_memory_layer(const std::filesystem::path& path);

/// The same for a file that is open. @param path  how errors call it
Result<MemoryLayer> read_memory_layer(UniqueFd file, const std::filesystem::path& path);

/// Reads all pages and compares their checksums. Blocking. @errors file_unreadable (names the first page that is
/// damaged) · io_failed
Result<void> verify_pages(const MemoryLayer& layer);

/// What a guest's memory holds, newest first: `pages`, then `older`, then `base`.
struct MemoryContents {
  std::uint64_t memory_bytes = 0;      ///< a multiple of 4096
  std::filesystem::path base;          ///< the memory file the guest started from; empty: zeros
  const MemoryLayer* older = nullptr;  ///< the layer it was restored with
  std::span<const PageRun> runs;       ///< where the guest's own pages lie
  std::span<const std::byte> pages;    ///< the pages of `runs`, packed in order
};

struct WrittenLayer {
  std::uint64_t bytes = 0;  ///< of the file
  std::uint64_t pages = 0;
};

/// Writes one layer over `contents.base` that holds the pages of `older` and the newest ones over them, so that a layer
/// never lies on another. A file has at most 4096 runs: where both together have more, they are joined over the
/// smallest gaps and the pages in between come from the base, the only case in which it is read. Mode 0444. Blocking.
/// @param path     must not exist; removed on failure
/// @param durable  written through to the device (the file, not its name in the folder)
/// @errors invalid_value (sizes or runs that do not fit together) · disk_full · io_failed · file_unreadable (the base)
Result<WrittenLayer> write_memory_layer(const std::filesystem::path& path, const MemoryContents& contents,
                                        bool durable);

namespace detail {
/// @errors invalid_value where runs, pages and sizes do not fit together
Result<void> check_contents(const MemoryContents& contents);
/// @errors file_unreadable, also where its size is not the memory's
Result<UniqueFd> open_base(const MemoryContents& contents);

enum class PageSource : std::uint8_t { newest, older, neither };
struct PagePiece {
  PageSource source = PageSource::neither;
  PageRun run;
  std::uint64_t index = 0;  ///< of its first page among those of its source
};
/// Cuts `runs` into pieces that lie in one source each.
std::vector<PagePiece> find_sources(std::span<const PageRun> runs, const MemoryContents& contents);
}  // namespace detail

}  // namespace nanobox
