#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace nanobox {

/// A run of blocks of one file.
struct Extent {
  std::uint32_t logical = 0;   ///< first block, counted in the file
  std::uint32_t count = 0;     ///< blocks
  std::uint64_t physical = 0;  ///< first block, counted in the image
};

struct Xattr {
  std::string_view name;  ///< with its prefix: "security.capability"
  std::string_view value;
};

enum class EntryType : std::uint8_t {
  file = 1,
  folder,
  symlink,
  hard_link,
  char_device,
  block_device,
  fifo,
  whiteout,        ///< hides `path` of lower layers
  opaque,          ///< hides all below `path` of lower layers
  missing_folder,  ///< a folder made only where the name leads to neither folder nor symlink
};

/// One entry of a layer, as the tar has it. Texts and lists live in the layer's arena. Bytes of names are kept as they
/// are; a path is relative, without empty or "." parts; "..", not as the last part, goes up and stops at the root.
struct LayerEntry {
  std::string_view path = {};  ///< empty: the root
  std::string_view link = {};  ///< symlink: its text; hard link: the target, in the form of `path`
  std::span<const Xattr> xattrs = {};
  std::span<const Extent> extents = {};  ///< in logical order; what they leave out reads as zeros
  std::uint64_t size_bytes = 0;
  std::int64_t mtime = 0;
  std::uint32_t mtime_nsec = 0;
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t device_major = 0, device_minor = 0;
  std::uint16_t mode = 0;  ///< 07777
  EntryType type = EntryType::file;
};

/// Memory that only grows and is freed at once; for trivially destructible things.
class Arena {
public:
  std::string_view text(std::string_view bytes) {
    if (bytes.empty()) return {};
    auto* copy = static_cast<char*>(allocate(bytes.size(), 1));
    std::memcpy(copy, bytes.data(), bytes.size());
    return {copy, bytes.size()};
  }
  template <class T>
  std::span<const T> list(std::span<const T> items) {
    static_assert(std::is_trivially_destructible_v<T> && std::is_trivially_copyable_v<T>);
    if (items.empty()) return {};
    auto* copy = static_cast<T*>(allocate(items.size_bytes(), alignof(T)));
    std::memcpy(static_cast<void*>(copy), items.data(), items.size_bytes());
    return {copy, items.size()};
  }

private:
  static constexpr std::size_t kChunkBytes = 64U << 10;

  void* allocate(std::size_t size, std::size_t alignment) {
    auto start = (used_ + alignment - 1) / alignment * alignment;
    if (chunks_.empty() || start + size > capacity_) {
      capacity_ = size > kChunkBytes ? size : kChunkBytes;
      chunks_.emplace_back(new std::byte[capacity_]);
      start = 0;
    }
    used_ = start + size;
    return chunks_.back().get() + start;
  }

  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  std::size_t used_ = 0, capacity_ = 0;
};

/// What one layer says, in the order of its tar. Move-only.
struct LayerIndex {
  LayerIndex() = default;
  LayerIndex(LayerIndex&&) = default;
  LayerIndex& operator=(LayerIndex&&) = default;
  LayerIndex(const LayerIndex&) = delete;
  LayerIndex& operator=(const LayerIndex&) = delete;

  Arena arena;
  std::deque<LayerEntry> entries;
};

}  // namespace nanobox
