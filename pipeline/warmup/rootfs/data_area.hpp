#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "config/error.hpp"
#include "pipeline/warmup/rootfs/layer_index.hpp"
#include "pipeline/warmup/rootfs/tar_reader.hpp"

namespace nanobox {

struct BlockRun {
  std::uint64_t start = 0;
  std::uint64_t count = 0;
  std::uint64_t end() const { return start + count; }
};

/// Hands out the image's blocks in ascending order, leaving out where superblock copies belong. Thread-safe.
class DataArea {
public:
  DataArea();
  /// At least one block, at most `wanted`, in one piece.
  BlockRun take(std::uint64_t wanted);
  /// `count` blocks in one piece; leaves a gap before it if need be. At most a group without its first blocks.
  BlockRun take_whole(std::uint64_t count);
  /// The first block never handed out.
  std::uint64_t end() const;

private:
  mutable std::mutex mutex_;
  std::uint64_t next_;
};

/// Places one layer's file data and writes it, many files to a call. Holds pointers into what it was given until
/// `flush`. Not thread-safe: one a layer.
class DataWriter {
public:
  DataWriter(DataArea& area, int image) : area_(area), image_(image) {}

  /// Starts a file: blocks for its stored ranges.
  std::vector<Extent> place(std::span<const FileRange> ranges);
  /// Bytes of the file started last, offsets ascending. Long runs of zeros are left out: the image is new and full of
  /// them.
  Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes);
  Result<void> flush();

private:
  void allocate(std::uint32_t logical, std::uint64_t count);
  Result<void> add(std::uint64_t position, std::span<const std::byte> bytes);

  DataArea& area_;
  int image_;
  BlockRun arena_;
  std::vector<Extent> extents_;
  std::size_t cursor_ = 0;
  std::vector<iovec> pieces_;
  std::uint64_t start_ = 0, end_ = 0;
};

/// Blocks of 4 KiB that the ranges touch, as ascending runs that do not meet.
std::vector<BlockRun> touched_blocks(std::span<const FileRange> ranges);

/// Writes all of `bytes` at `position`.
Result<void> write_at(int file, std::uint64_t position, std::span<const std::byte> bytes);

}  // namespace nanobox
