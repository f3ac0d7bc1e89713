#include "pipeline/warmup/rootfs/data_area.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "pipeline/warmup/rootfs/ext4/geometry.hpp"

namespace nanobox {

namespace {

constexpr std::uint64_t kArenaBlocks = 4096;
constexpr std::uint64_t kOwnRunBlocks = 1024;  // files above 4 MiB
constexpr std::uint64_t kZeroRun = 64U << 10;
constexpr std::size_t kMostPieces = 1000;  // below IOV_MAX
alignas(64) constexpr std::array<std::byte, ext4::kBlockBytes> kZeros{};

bool zero_run(std::span<const std::byte> bytes) {
  return bytes.front() == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

Error write_error(int number) {
  return errno_error(number, "write image", "");
}

}  // namespace

DataArea::DataArea() : next_(ext4::kFirstFreeBlock) {}

BlockRun DataArea::take(std::uint64_t wanted) {
  const std::lock_guard lock(mutex_);
  next_ = ext4::after_reserved(next_);
  const auto count = std::min({wanted, ext4::next_reserved(next_) - next_, std::uint64_t{ext4::kMostExtentBlocks}});
  const BlockRun run{next_, count};
  next_ += count;
  return run;
}

BlockRun DataArea::take_whole(std::uint64_t count) {
  const std::lock_guard lock(mutex_);
  next_ = ext4::after_reserved(next_);
  if (ext4::next_reserved(next_) - next_ < count) next_ = ext4::after_reserved(ext4::next_reserved(next_));
  const BlockRun run{next_, count};
  next_ += count;
  return run;
}

std::uint64_t DataArea::end() const {
  const std::lock_guard lock(mutex_);
  return next_;
}

std::vector<BlockRun> touched_blocks(std::span<const FileRange> ranges) {
  std::vector<BlockRun> runs;
  for (const auto& range : ranges) {
    auto first = range.offset / ext4::kBlockBytes;
    const auto end = (range.offset + range.length + ext4::kBlockBytes - 1) / ext4::kBlockBytes;
    if (!runs.empty() && first < runs.back().end()) first = runs.back().end();
    if (first >= end) continue;
    if (!runs.empty() && runs.back().end() == first)
      runs.back().count += end - first;
    else
      runs.push_back({first, end - first});
  }
  return runs;
}

std::vector<Extent> DataWriter::place(std::span<const FileRange> ranges) {
  extents_.clear();
  cursor_ = 0;
  for (const auto& run : touched_blocks(ranges)) allocate(static_cast<std::uint32_t>(run.start), run.count);
  return extents_;
}

void DataWriter::allocate(std::uint32_t logical, std::uint64_t count) {
  const bool own = count > kOwnRunBlocks;
  while (count != 0) {
    BlockRun run;
    if (own) {
      run = area_.take(count);
    } else {
      if (arena_.count == 0) arena_ = area_.take(kArenaBlocks);
      run = {arena_.start, std::min(count, arena_.count)};
      arena_ = {arena_.start + run.count, arena_.count - run.count};
    }
    const auto taken = static_cast<std::uint32_t>(run.count);
    auto* last = extents_.empty() ? nullptr : &extents_.back();
    if (last && last->physical + last->count == run.start && last->logical + last->count == logical &&
        last->count + run.count <= ext4::kMostExtentBlocks)
      last->count += taken;
    else
      extents_.push_back({logical, taken, run.start});
    logical += taken;
    count -= run.count;
  }
}

Result<void> DataWriter::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto block = offset / ext4::kBlockBytes;
    while (extents_[cursor_].logical + std::uint64_t{extents_[cursor_].count} <= block) ++cursor_;
    const auto& extent = extents_[cursor_];
    const auto extent_start = extent.logical * std::uint64_t{ext4::kBlockBytes};
    const auto extent_end = extent_start + extent.count * std::uint64_t{ext4::kBlockBytes};
    auto size = std::min<std::uint64_t>(bytes.size(), extent_end - offset);
    const auto in_run = offset % kZeroRun;
    const auto to_run_end = kZeroRun - in_run;
    if (in_run == 0 && size >= kZeroRun && zero_run(bytes.first(kZeroRun))) {
      size = kZeroRun;
    } else {
      size = std::min(size, to_run_end);
      NANOBOX_TRY(add(extent.physical * ext4::kBlockBytes + (offset - extent_start), bytes.first(size)));
    }
    bytes = bytes.subspan(size);
    offset += size;
  }
  return {};
}

Result<void> DataWriter::add(std::uint64_t position, std::span<const std::byte> bytes) {
  const auto as_iovec = [](std::span<const std::byte> span) {
    return iovec{const_cast<std::byte*>(span.data()), span.size()};
  };
  if (!pieces_.empty() && position != end_) {
    if (position > end_ && position - end_ < ext4::kBlockBytes) {
      pieces_.push_back(as_iovec(std::span(kZeros).first(position - end_)));
      end_ = position;
    } else {
      NANOBOX_TRY(flush());
    }
  }
  if (pieces_.size() >= kMostPieces) NANOBOX_TRY(flush());
  if (pieces_.empty()) start_ = end_ = position;
  const bool joins =
      !pieces_.empty() && static_cast<std::byte*>(pieces_.back().iov_base) + pieces_.back().iov_len == bytes.data();
  if (joins)
    pieces_.back().iov_len += bytes.size();
  else
    pieces_.push_back(as_iovec(bytes));
  end_ += bytes.size();
  return {};
}

Result<void> DataWriter::flush() {
  std::size_t first = 0;
  while (first < pieces_.size()) {
    auto written =
        ::pwritev(image_, pieces_.data() + first, static_cast<int>(pieces_.size() - first), static_cast<off_t>(start_));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(write_error(errno));
    start_ += static_cast<std::uint64_t>(written);
    while (first < pieces_.size() && static_cast<std::size_t>(written) >= pieces_[first].iov_len)
      written -= static_cast<ssize_t>(pieces_[first++].iov_len);
    if (first < pieces_.size()) {
      pieces_[first].iov_base = static_cast<std::byte*>(pieces_[first].iov_base) + written;
      pieces_[first].iov_len -= static_cast<std::size_t>(written);
    }
  }
  pieces_.clear();
  return {};
}

Result<void> write_at(int file, std::uint64_t position, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto written = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(write_error(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    position += static_cast<std::uint64_t>(written);
  }
  return {};
}

}  // namespace nanobox
