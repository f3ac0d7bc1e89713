#include "pipeline/boot/memory/flat_memory.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "guest/protocol.h"
#include "pipeline/boot/memory/output_file.hpp"
#include "pipeline/boot/memory/page_checksum.hpp"

namespace nanobox {

namespace {

constexpr std::size_t buffer_pages = 256;

/// The pages of a file that are not in holes.
Result<std::vector<PageRun>> find_data(int file, const std::filesystem::path& name, std::uint64_t bytes) {
  std::vector<PageRun> runs;
  for (std::uint64_t at = 0; at < bytes;) {
    const auto data = ::lseek(file, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // only a hole is left
    const auto hole = data < 0 ? data : ::lseek(file, data, SEEK_HOLE);
    if (hole < 0) return fail(errno_error(errno, "read memory", name));
    if (static_cast<std::uint64_t>(data) >= bytes) break;
    const auto first = static_cast<std::uint64_t>(data) / page_bytes;
    at = std::min(static_cast<std::uint64_t>(hole), bytes);
    const auto end = (at + page_bytes - 1) / page_bytes;
    const auto from = runs.empty() ? first : std::max(first, runs.back().end());
    if (from < end) append_run(runs, {from, end - from});
  }
  return runs;
}

void add_pages_with_data(std::vector<PageRun>& runs, std::uint64_t first, std::span<const std::byte> pages) {
  for (std::size_t at = 0; at < pages.size(); at += page_bytes)
    if (!is_zero_page(&pages[at])) append_run(runs, {first + at / page_bytes, 1});
}

/// Which pages of the layer and of the newest ones are not all zero. The layer's are read only where their checksum
/// is that of zeros.
Result<std::vector<PageRun>> find_changed_data(const MemoryContents& contents, std::span<const PageRun> changed) {
  std::vector<PageRun> data;
  std::array<std::byte, page_bytes> page{};
  for (const auto& piece : detail::find_sources(changed, contents)) {
    if (piece.source == detail::PageSource::newest) {
      add_pages_with_data(data, piece.run.first,
                          contents.pages.subspan(piece.index * page_bytes, piece.run.count * page_bytes));
      continue;
    }
    const auto& older = *contents.older;
    for (std::uint64_t i = 0; i < piece.run.count; ++i) {
      if (older.page_checksums[piece.index + i] == zero_page_checksum) {
        NANOBOX_TRY(read_at(older.file.get(), page, older.pages_offset + (piece.index + i) * page_bytes, older.path));
        if (is_zero_page(page.data())) continue;
      }
      append_run(data, {piece.run.first + i, 1});
    }
  }
  return data;
}

/// Makes holes where the base, whose clone `file` is, has data that the memory has not.
Result<void> punch(const OutputFile& file, const std::filesystem::path& path, std::span<const PageRun> runs) {
  for (const auto& run : runs)
    if (::fallocate(file.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(run.first * page_bytes),
                    static_cast<off_t>(run.count * page_bytes)) != 0)
      return fail(errno_error(errno, "write memory", path));
  return {};
}

}  // namespace

Result<void> write_memory_file(const std::filesystem::path& path, const MemoryContents& contents, bool durable) {
  NANOBOX_TRY(detail::check_contents(contents));
  UniqueFd base;
  std::vector<PageRun> base_data;
  if (!contents.base.empty()) {
    base = NANOBOX_TRY(detail::open_base(contents));
    base_data = NANOBOX_TRY(find_data(base.get(), contents.base, contents.memory_bytes));
  }
  const auto older_runs =
      contents.older != nullptr ? std::span<const PageRun>(contents.older->runs) : std::span<const PageRun>();
  const auto changed = unite_runs(contents.runs, older_runs);
  const auto kept = subtract_runs(base_data, changed);
  const auto data =
      join_runs(unite_runs(kept, NANOBOX_TRY(find_changed_data(contents, changed))), memory_file_extents_max);

  auto file = NANOBOX_TRY(OutputFile::create(path));
  const bool cloned = base && ::ioctl(file.fd(), FICLONE, base.get()) == 0;
  if (cloned) {
    NANOBOX_TRY(punch(file, path, subtract_runs(base_data, data)));
  } else {
    NANOBOX_TRY(file.resize(contents.memory_bytes));
  }
  for (const auto& piece : detail::find_sources(data, contents)) {
    const auto offset = piece.run.first * page_bytes, bytes = piece.run.count * page_bytes;
    switch (piece.source) {
      case detail::PageSource::newest:
        NANOBOX_TRY(file.write(contents.pages.subspan(piece.index * page_bytes, bytes), offset));
        break;
      case detail::PageSource::older:
        NANOBOX_TRY(file.copy(contents.older->file.get(), contents.older->path,
                              contents.older->pages_offset + piece.index * page_bytes, bytes, offset));
        break;
      case detail::PageSource::neither: {
        const std::span<const PageRun> here(&piece.run, 1);
        if (!cloned)
          for (const auto& run : intersect_runs(here, base_data))
            NANOBOX_TRY(file.copy(base.get(), contents.base, run.first * page_bytes, run.count * page_bytes,
                                  run.first * page_bytes));
        for (const auto& run : subtract_runs(here, base_data))  // the joined gaps
          NANOBOX_TRY(file.write_zeros(run.count * page_bytes, run.first * page_bytes));
        break;
      }
    }
  }
  return file.finish(durable);
}

Result<std::uint32_t> checksum_of_file(const std::filesystem::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0)
    return fail(errno_error(errno, "read memory", path, ErrorCode::file_unreadable));
  const auto file_bytes = static_cast<std::uint64_t>(status.st_size);
  std::uint8_t record[12];
  nanobox_put64(record, file_bytes);
  auto checksum = nanobox_crc32c(0, record, 8);

  std::vector<std::byte> buffer(buffer_pages * page_bytes);
  std::array<std::uint32_t, buffer_pages> sums{};
  for (const auto& run : NANOBOX_TRY(find_data(file.get(), path, file_bytes))) {
    for (auto page = run.first; page < run.end();) {
      const auto count = std::min<std::uint64_t>(buffer_pages, run.end() - page);
      const auto bytes = std::min(count * page_bytes, file_bytes - page * page_bytes);
      const auto pages = std::span(buffer).first(count * page_bytes);
      NANOBOX_TRY(read_at(file.get(), pages.first(bytes), page * page_bytes, path));
      std::fill(pages.begin() + static_cast<std::ptrdiff_t>(bytes), pages.end(), std::byte{0});
      checksum_pages(pages, std::span(sums).first(count));
      for (std::size_t i = 0; i < count; ++i) {
        if (sums[i] == zero_page_checksum && is_zero_page(&pages[i * page_bytes])) continue;
        nanobox_put64(record, page + i);
        nanobox_put32(record + 8, sums[i]);
        checksum = nanobox_crc32c(checksum, record, sizeof record);
      }
      page += count;
    }
  }
  return checksum;
}

}  // namespace nanobox
