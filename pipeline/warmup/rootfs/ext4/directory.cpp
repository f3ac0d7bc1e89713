#include "pipeline/warmup/rootfs/ext4/directory.hpp"

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

#include <algorithm>
#include <cstring>

namespace nanobox::ext4 {

namespace {

constexpr std::size_t kHead = 8;
constexpr std::size_t kDotBytes = 12;

std::size_t entry_bytes(std::size_t name_bytes) {
  return (kHead + name_bytes + 3) / 4 * 4;
}

/// Fills one block with entries; `close` stretches the last one to the end.
class BlockFiller {
public:
  explicit BlockFiller(std::byte* block) : block_(block) {}

  bool fits(std::size_t name_bytes) const { return at_ + entry_bytes(name_bytes) <= kBlockBytes; }
  void add(std::uint32_t inode, std::string_view name, FileKind kind) {
    last_ = at_;
    const auto size = entry_bytes(name.size());
    write(inode, static_cast<std::uint16_t>(size), static_cast<std::uint8_t>(name.size()),
          static_cast<std::uint8_t>(kind));
    std::memcpy(block_ + at_ + kHead, name.data(), name.size());
    at_ += size;
  }
  void close() {
    const auto length = static_cast<std::uint16_t>(kBlockBytes - last_);
    std::memcpy(block_ + last_ + 4, &length, sizeof length);
  }

private:
  void write(std::uint32_t inode, std::uint16_t length, std::uint8_t name_bytes, std::uint8_t kind) {
    std::memcpy(block_ + at_, &inode, sizeof inode);
    std::memcpy(block_ + at_ + 4, &length, sizeof length);
    std::memcpy(block_ + at_ + 6, &name_bytes, sizeof name_bytes);
    std::memcpy(block_ + at_ + 7, &kind, sizeof kind);
  }

  std::byte* block_;
  std::size_t at_ = 0, last_ = 0;
};

struct HashedEntry {
  std::uint32_t hash, minor;
  const FolderEntry* entry;
};

struct Leaf {
  std::uint32_t hash;   ///< lowest in it; bit 0 set where it goes on with the last hash of the leaf before
  std::uint32_t block;  ///< logical
};

constexpr std::size_t kRootIndexAt = 2 * kDotBytes + sizeof(ext2_dx_root_info);
constexpr std::size_t kRootLimit = (kBlockBytes - kRootIndexAt) / sizeof(ext2_dx_entry);
constexpr std::size_t kNodeLimit = (kBlockBytes - kHead) / sizeof(ext2_dx_entry);

/// An index: the first entry's hash field holds limit and count.
void write_index(std::byte* at, std::size_t limit, std::span<const Leaf> children) {
  auto* entries = reinterpret_cast<ext2_dx_entry*>(at);
  for (std::size_t i = 0; i < children.size(); ++i) {
    entries[i].hash = children[i].hash;
    entries[i].block = children[i].block;
  }
  auto* count = reinterpret_cast<ext2_dx_countlimit*>(at);
  count->limit = static_cast<std::uint16_t>(limit);
  count->count = static_cast<std::uint16_t>(children.size());
}

void write_root(std::byte* block, std::uint32_t self, std::uint32_t parent, std::uint8_t levels,
                std::span<const Leaf> children) {
  BlockFiller filler(block);
  filler.add(self, ".", FileKind::folder);
  filler.add(parent, "..", FileKind::folder);
  filler.close();
  auto* info = reinterpret_cast<ext2_dx_root_info*>(block + 2 * kDotBytes);
  info->hash_version = EXT2_HASH_HALF_MD4;
  info->info_length = sizeof(ext2_dx_root_info);
  info->indirect_levels = levels;
  write_index(block + kRootIndexAt, kRootLimit, children);
}

std::vector<HashedEntry> by_hash(std::span<const FolderEntry> entries, const HashSeed& seed) {
  std::vector<HashedEntry> hashed;
  hashed.reserve(entries.size());
  for (const auto& entry : entries) {
    HashedEntry one{0, 0, &entry};
    ext2fs_dirhash(EXT2_HASH_HALF_MD4, entry.name.data(), static_cast<int>(entry.name.size()), seed.data(), &one.hash,
                   &one.minor);
    hashed.push_back(one);
  }
  std::sort(hashed.begin(), hashed.end(), [](const HashedEntry& left, const HashedEntry& right) {
    if (left.hash != right.hash) return left.hash < right.hash;
    if (left.minor != right.minor) return left.minor < right.minor;
    return left.entry->name < right.entry->name;
  });
  return hashed;
}

/// Leaves filled to four fifths, so that the guest's first additions do not split each of them.
std::vector<std::vector<const FolderEntry*>> into_leaves(std::span<const HashedEntry> hashed,
                                                         std::vector<Leaf>& leaves) {
  constexpr std::size_t kFill = kBlockBytes * 4 / 5;
  std::vector<std::vector<const FolderEntry*>> groups;
  std::size_t used = kBlockBytes;
  std::uint32_t last_hash = 0;
  for (const auto& one : hashed) {
    const auto size = entry_bytes(one.entry->name.size());
    if (groups.empty() || used + size > kFill) {
      const std::uint32_t goes_on = !groups.empty() && one.hash == last_hash ? 1 : 0;
      leaves.push_back({groups.empty() ? 0 : one.hash | goes_on, 0});
      groups.emplace_back();
      used = 0;
    }
    groups.back().push_back(one.entry);
    used += size;
    last_hash = one.hash;
  }
  return groups;
}

FolderBlocks encode_hashed(std::uint32_t self, std::uint32_t parent, std::span<const FolderEntry> entries,
                           const HashSeed& seed) {
  std::vector<Leaf> leaves;
  const auto groups = into_leaves(by_hash(entries, seed), leaves);
  const bool two_levels = leaves.size() > kRootLimit;
  const std::size_t node_count = two_levels ? (leaves.size() + kNodeLimit - 1) / kNodeLimit : 0;

  FolderBlocks folder;
  folder.hashed = true;
  folder.bytes.resize((1 + node_count + leaves.size()) * kBlockBytes);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    leaves[i].block = static_cast<std::uint32_t>(1 + node_count + i);
    BlockFiller filler(folder.bytes.data() + leaves[i].block * std::size_t{kBlockBytes});
    for (const auto* entry : groups[i]) filler.add(entry->inode, entry->name, entry->kind);
    filler.close();
  }
  std::vector<Leaf> nodes;
  for (std::size_t i = 0; i < node_count; ++i) {
    const auto first = i * kNodeLimit;
    const auto children = std::span(leaves).subspan(first, std::min(kNodeLimit, leaves.size() - first));
    auto* block = folder.bytes.data() + (1 + i) * kBlockBytes;
    const std::uint16_t whole = kBlockBytes;
    std::memcpy(block + 4, &whole, sizeof whole);
    write_index(block + kHead, kNodeLimit, children);
    nodes.push_back({children.front().hash, static_cast<std::uint32_t>(1 + i)});
  }
  write_root(folder.bytes.data(), self, parent, two_levels ? 1 : 0, two_levels ? nodes : leaves);
  return folder;
}

}  // namespace

FolderBlocks encode_folder(std::uint32_t self, std::uint32_t parent, std::span<const FolderEntry> entries,
                           const HashSeed& seed) {
  std::size_t size = 2 * kDotBytes;
  for (const auto& entry : entries) size += entry_bytes(entry.name.size());
  if (size > kBlockBytes) return encode_hashed(self, parent, entries, seed);

  FolderBlocks folder;
  folder.bytes.resize(kBlockBytes);
  BlockFiller filler(folder.bytes.data());
  filler.add(self, ".", FileKind::folder);
  filler.add(parent, "..", FileKind::folder);
  for (const auto& entry : entries) filler.add(entry.inode, entry.name, entry.kind);
  filler.close();
  return folder;
}

}  // namespace nanobox::ext4
