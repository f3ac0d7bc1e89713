#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "config/error.hpp"
#include "pipeline/warmup/rootfs/limits.hpp"

namespace nanobox {

/// Bytes that come in pieces. A piece is valid until the next call.
class ChunkSource {
public:
  virtual ~ChunkSource() = default;
  /// Empty at the end.
  virtual Result<std::span<const std::byte>> next_chunk() = 0;
};

enum class TarType : std::uint8_t { file = 1, folder, symlink, hard_link, char_device, block_device, fifo };

/// Bytes of a file that the archive holds.
struct FileRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

/// One member of a tar with every extension applied: PAX over GNU over ustar. Names are bytes, as they are in the tar.
struct TarEntry {
  std::string path;
  std::string link;
  TarType type = TarType::file;
  std::uint16_t mode = 0;
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t device_major = 0, device_minor = 0;
  std::int64_t mtime = 0;
  std::uint32_t mtime_nsec = 0;
  std::uint64_t size_bytes = 0;   ///< the file's real size; 0 for all but files
  std::vector<FileRange> ranges;  ///< stored bytes, ascending, none empty; the rest are holes
  std::map<std::string, std::string> xattrs;
};

/// Reads a tar: v7, ustar, star, GNU (long names, base-256, old sparse) and PAX (sparse 0.0, 0.1, 1.0).
/// No libarchive here: its names pass through the locale, which loses bytes that are not UTF-8.
class TarReader {
public:
  TarReader(ChunkSource& source, const ImageLimits& limits) : source_(source), limits_(limits) {}

  /// The next member; what is left of the one before is skipped. Nothing at the end of the archive.
  /// @errors  layer_invalid · layer_unsupported · layer_too_large, each with the member's name; the source's
  Result<std::optional<TarEntry>> next();
  /// The next piece of the member's stored bytes, range after range, never across two ranges; empty after the last.
  /// Valid until the next call of anything here.
  struct Piece {
    std::uint64_t offset = 0;  ///< in the file
    std::span<const std::byte> bytes;
  };
  Result<Piece> data();
  /// Reads what follows the archive's end.
  Result<void> drain();

private:
  static constexpr std::size_t kBlockBytes = 512;
  using Block = std::array<std::byte, kBlockBytes>;
  struct Pending;

  Result<std::span<const std::byte>> take(std::uint64_t most);
  Result<bool> read_block(Block& block);
  Result<std::string> read_text(std::uint64_t size);
  Result<void> skip(std::uint64_t count);
  Result<void> parse_pax(const std::string& records, Pending& pending);
  Result<TarEntry> parse(const Block& header, Pending& pending);
  Result<void> parse_old_sparse(const Block& header, TarEntry& entry);
  Result<void> parse_sparse_map(TarEntry& entry);
  Result<void> check_ranges(TarEntry& entry);
  Error problem(ErrorCode code, std::string reason) const;

  ChunkSource& source_;
  const ImageLimits& limits_;
  std::span<const std::byte> chunk_;
  bool ended_ = false;
  std::string name_;  ///< of the member at hand, for errors
  std::uint64_t stored_left_ = 0;
  std::uint64_t padding_ = 0;
  std::vector<FileRange> ranges_;
  std::size_t range_ = 0;
  std::uint64_t range_done_ = 0;
};

}  // namespace nanobox
