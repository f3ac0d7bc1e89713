#include "pipeline/boot/memory/memory_layer.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "pipeline/boot/memory/memory_layer_format.h"
#include "pipeline/boot/memory/output_file.hpp"
#include "pipeline/boot/memory/page_checksum.hpp"

namespace nanobox {

namespace {

static_assert(page_bytes == NANOBOX_LAYER_PAGE);

constexpr std::size_t buffer_pages = 256;

Error unreadable(const std::filesystem::path& path, std::string reason) {
  return {.code = ErrorCode::file_unreadable,
          .attempted = "read memory layer",
          .subject = path,
          .reason = std::move(reason),
          .mend = ""};
}

Error unfit(std::string reason) {
  return {.code = ErrorCode::invalid_value,
          .attempted = "write memory",
          .subject = "",
          .reason = std::move(reason),
          .mend = ""};
}

std::uint8_t* as_octets(std::vector<std::byte>& bytes) {
  return reinterpret_cast<std::uint8_t*>(bytes.data());
}

std::uint32_t sum_of(std::span<const std::byte> bytes) {
  return nanobox_crc32c(0, bytes.data(), bytes.size());
}

/// Header, run table and page checksums, as they lie in the file.
std::vector<std::byte> make_tables(std::uint64_t memory_bytes, std::span<const PageRun> runs,
                                   std::span<const std::uint32_t> page_checksums) {
  const auto sums_offset = NANOBOX_LAYER_HEADER + runs.size() * NANOBOX_LAYER_RUN;
  std::vector<std::byte> bytes(sums_offset + page_checksums.size() * 4);
  auto* header = as_octets(bytes);
  auto* table = header + NANOBOX_LAYER_HEADER;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    nanobox_put32(table + i * NANOBOX_LAYER_RUN, static_cast<std::uint32_t>(runs[i].first));
    nanobox_put32(table + i * NANOBOX_LAYER_RUN + 4, static_cast<std::uint32_t>(runs[i].count));
  }
  for (std::size_t i = 0; i < page_checksums.size(); ++i)
    nanobox_put32(header + sums_offset + i * 4, page_checksums[i]);
  std::memcpy(header, NANOBOX_LAYER_MAGIC, 8);
  nanobox_put32(header + 8, NANOBOX_LAYER_VERSION);
  nanobox_put64(header + 16, memory_bytes);
  nanobox_put64(header + 24, page_checksums.size());
  nanobox_put32(header + 32, static_cast<std::uint32_t>(runs.size()));
  nanobox_put32(header + 36, sum_of(std::span(bytes).subspan(sums_offset)));
  nanobox_put32(header + 12, nanobox_layer_header_checksum(header, table, static_cast<std::uint32_t>(runs.size())));
  return bytes;
}

}  // namespace

namespace detail {

Result<void> check_contents(const MemoryContents& contents) {
  if (contents.memory_bytes == 0 || contents.memory_bytes % page_bytes != 0 ||
      contents.memory_bytes / page_bytes > UINT32_MAX)
    return fail(unfit("a memory of " + std::to_string(contents.memory_bytes) + " bytes cannot be written"));
  if (contents.older != nullptr && contents.older->memory_bytes != contents.memory_bytes)
    return fail(unfit("the older layer is of another memory size"));
  if (!are_in_order(contents.runs, contents.memory_bytes / page_bytes))
    return fail(unfit("the runs are empty, out of order, overlap or lie behind the memory's end"));
  if (count_pages(contents.runs) * page_bytes != contents.pages.size())
    return fail(unfit("there are not as many pages as the runs say"));
  return {};
}

Result<UniqueFd> open_base(const MemoryContents& contents) {
  UniqueFd base(::open(contents.base.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat file {};
  if (!base || ::fstat(base.get(), &file) != 0)
    return fail(errno_error(errno, "open memory file", contents.base, ErrorCode::file_unreadable));
  if (static_cast<std::uint64_t>(file.st_size) != contents.memory_bytes)
    return fail({.code = ErrorCode::file_unreadable,
                 .attempted = "open memory file",
                 .subject = contents.base,
                 .reason = "it has " + std::to_string(file.st_size) + " bytes, the memory " +
                           std::to_string(contents.memory_bytes),
                 .mend = ""});
  return base;
}

std::vector<PagePiece> find_sources(std::span<const PageRun> runs, const MemoryContents& contents) {
  std::vector<PagePiece> pieces;
  struct Cursor {
    std::span<const PageRun> runs;
    std::uint64_t index = 0;  // of the first run's first page
    void skip_to(std::uint64_t page) {
      while (!runs.empty() && runs.front().end() <= page) {
        index += runs.front().count;
        runs = runs.subspan(1);
      }
    }
    bool covers(std::uint64_t page) const { return !runs.empty() && runs.front().first <= page; }
    std::uint64_t border(std::uint64_t page, std::uint64_t end) const {
      if (runs.empty()) return end;
      return std::min(end, covers(page) ? runs.front().end() : runs.front().first);
    }
  };
  Cursor newest{contents.runs}, older;
  if (contents.older != nullptr) older.runs = contents.older->runs;
  for (const auto& run : runs) {
    for (auto page = run.first; page < run.end();) {
      newest.skip_to(page);
      older.skip_to(page);
      auto end = newest.border(page, run.end());
      PagePiece piece;
      if (newest.covers(page)) {
        piece = {PageSource::newest, {}, newest.index + (page - newest.runs.front().first)};
      } else {
        end = older.border(page, end);
        if (older.covers(page)) piece = {PageSource::older, {}, older.index + (page - older.runs.front().first)};
      }
      piece.run = {page, end - page};
      pieces.push_back(piece);
      page = end;
    }
  }
  return pieces;
}

}  // namespace detail

Result<MemoryLayer> open_memory_layer(const std::filesystem::path& path) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) return fail(errno_error(errno, "open memory layer", path, ErrorCode::file_unreadable));
  return read_memory_layer(std::move(file), path);
}

Result<MemoryLayer> read_memory_layer(UniqueFd file, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0)
    return fail(errno_error(errno, "read memory layer", path, ErrorCode::file_unreadable));
  if (!S_ISREG(status.st_mode)) return fail(unreadable(path, "it is no regular file"));
  const auto file_bytes = static_cast<std::uint64_t>(status.st_size);
  if (file_bytes < NANOBOX_LAYER_HEADER) return fail(unreadable(path, "it is too short"));

  std::vector<std::byte> bytes(NANOBOX_LAYER_HEADER);
  NANOBOX_TRY(read_at(file.get(), bytes, 0, path));
  nanobox_layer_header header{};
  if (const auto* reason = nanobox_layer_read_header(as_octets(bytes), file_bytes, &header))
    return fail(unreadable(path, reason));
  // The file's size bounds both tables.
  const auto sums_offset = nanobox_layer_sums_offset(&header);
  bytes.resize(sums_offset + header.pages * 4);
  NANOBOX_TRY(read_at(file.get(), std::span(bytes).subspan(NANOBOX_LAYER_HEADER), NANOBOX_LAYER_HEADER, path));
  const auto* table = as_octets(bytes) + NANOBOX_LAYER_HEADER;
  if (const auto* reason = nanobox_layer_check_runs(&header, as_octets(bytes), table))
    return fail(unreadable(path, reason));
  if (sum_of(std::span(bytes).subspan(sums_offset)) != header.pages_checksum)
    return fail(unreadable(path, "its page checksums are damaged"));

  MemoryLayer layer{.path = path,
                    .file = std::move(file),
                    .memory_bytes = header.memory_bytes,
                    .runs = {},
                    .pages_offset = nanobox_layer_pages_offset(&header),
                    .page_checksums = std::vector<std::uint32_t>(header.pages)};
  layer.runs.reserve(header.runs);
  for (std::size_t i = 0; i < header.runs; ++i)
    layer.runs.push_back(
        {nanobox_get32(table + i * NANOBOX_LAYER_RUN), nanobox_get32(table + i * NANOBOX_LAYER_RUN + 4)});
  for (std::size_t i = 0; i < header.pages; ++i)
    layer.page_checksums[i] = nanobox_get32(as_octets(bytes) + sums_offset + i * 4);
  return layer;
}

Result<void> verify_pages(const MemoryLayer& layer) {
  std::vector<std::byte> buffer(buffer_pages * page_bytes);
  std::array<std::uint32_t, buffer_pages> sums{};
  for (std::size_t page = 0; page < layer.page_checksums.size(); page += buffer_pages) {
    const auto count = std::min(buffer_pages, layer.page_checksums.size() - page);
    const auto pages = std::span(buffer).first(count * page_bytes);
    NANOBOX_TRY(read_at(layer.file.get(), pages, layer.pages_offset + page * page_bytes, layer.path));
    checksum_pages(pages, std::span(sums).first(count));
    const auto expected = layer.page_checksums.begin() + static_cast<std::ptrdiff_t>(page);
    const auto [found, wrong] =
        std::mismatch(sums.begin(), sums.begin() + static_cast<std::ptrdiff_t>(count), expected);
    if (wrong != expected + static_cast<std::ptrdiff_t>(count))
      return fail(unreadable(
          layer.path,
          "its page " + std::to_string(page + static_cast<std::size_t>(found - sums.begin())) + " is damaged"));
  }
  return {};
}

Result<WrittenLayer> write_memory_layer(const std::filesystem::path& path, const MemoryContents& contents,
                                        bool durable) {
  NANOBOX_TRY(detail::check_contents(contents));
  const auto* older = contents.older;
  const auto runs = join_runs(
      unite_runs(contents.runs, older != nullptr ? std::span<const PageRun>(older->runs) : std::span<const PageRun>()),
      NANOBOX_LAYER_RUNS_MAX);
  std::vector<std::uint32_t> sums(count_pages(runs));
  const nanobox_layer_header layout{.memory_bytes = contents.memory_bytes,
                                    .pages = sums.size(),
                                    .runs = static_cast<std::uint32_t>(runs.size()),
                                    .header_checksum = 0,
                                    .pages_checksum = 0};
  const auto pages_offset = nanobox_layer_pages_offset(&layout);
  auto file = NANOBOX_TRY(OutputFile::create(path));
  NANOBOX_TRY(file.resize(pages_offset + sums.size() * page_bytes));

  UniqueFd base;
  std::vector<std::byte> between;
  std::size_t at = 0;
  for (const auto& piece : detail::find_sources(runs, contents)) {
    const auto offset = pages_offset + at * page_bytes;
    const auto bytes = piece.run.count * page_bytes;
    const auto piece_sums = std::span(sums).subspan(at, piece.run.count);
    at += piece.run.count;
    switch (piece.source) {
      case detail::PageSource::newest: {
        const auto pages = contents.pages.subspan(piece.index * page_bytes, bytes);
        checksum_pages(pages, piece_sums);
        NANOBOX_TRY(file.write(pages, offset));
        break;
      }
      case detail::PageSource::older:
        std::copy_n(older->page_checksums.begin() + static_cast<std::ptrdiff_t>(piece.index), piece.run.count,
                    piece_sums.begin());
        NANOBOX_TRY(
            file.copy(older->file.get(), older->path, older->pages_offset + piece.index * page_bytes, bytes, offset));
        break;
      case detail::PageSource::neither:
        if (contents.base.empty()) {  // the file's own hole
          std::fill(piece_sums.begin(), piece_sums.end(), zero_page_checksum);
          break;
        }
        if (!base) base = NANOBOX_TRY(detail::open_base(contents));
        between.resize(buffer_pages * page_bytes);
        for (std::uint64_t done = 0; done < piece.run.count;) {
          const auto count = std::min<std::uint64_t>(buffer_pages, piece.run.count - done);
          const auto pages = std::span(between).first(count * page_bytes);
          NANOBOX_TRY(read_at(base.get(), pages, (piece.run.first + done) * page_bytes, contents.base));
          checksum_pages(pages, piece_sums.subspan(done, count));
          NANOBOX_TRY(file.write(pages, offset + done * page_bytes));
          done += count;
        }
        break;
    }
  }
  // Last, so that what a crash leaves is no layer.
  NANOBOX_TRY(file.write(make_tables(contents.memory_bytes, runs, sums), 0));
  NANOBOX_TRY(file.finish(durable));
  return WrittenLayer{.bytes = pages_offset + sums.size() * page_bytes, .pages = sums.size()};
}

}  // namespace nanobox
