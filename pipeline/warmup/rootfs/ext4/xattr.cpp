#include "pipeline/warmup/rootfs/ext4/xattr.hpp"

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

namespace nanobox::ext4 {

namespace {

struct Prefix {
  std::string_view text;
  std::uint8_t index;
};
constexpr std::array kPrefixes{Prefix{"user.", 1}, Prefix{"trusted.", 4}, Prefix{"security.", 6}};
constexpr std::size_t kAlignment = 4;
constexpr std::size_t kEntryHead = sizeof(ext2_ext_attr_entry);
constexpr std::size_t kEndMark = 4;
constexpr std::size_t kMostNameBytes = 255;

struct Named {
  std::uint8_t index;
  std::string_view name, value;
};

std::size_t padded(std::size_t size) {
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

std::optional<Named> named(const Xattr& xattr) {
  for (const auto& prefix : kPrefixes) {
    if (xattr.name.starts_with(prefix.text))
      return Named{prefix.index, xattr.name.substr(prefix.text.size()), xattr.value};
  }
  return std::nullopt;
}

/// As the kernel searches them: by index, length, bytes.
std::vector<Named> sorted(std::span<const Xattr> xattrs) {
  std::vector<Named> all;
  for (const auto& xattr : xattrs) {
    if (const auto one = named(xattr)) all.push_back(*one);
  }
  std::sort(all.begin(), all.end(), [](const Named& left, const Named& right) {
    if (left.index != right.index) return left.index < right.index;
    if (left.name.size() != right.name.size()) return left.name.size() < right.name.size();
    return left.name < right.name;
  });
  return all;
}

std::size_t encoded_bytes(std::span<const Xattr> xattrs) {
  std::size_t sum = kEndMark;
  for (const auto& xattr : xattrs) {
    if (const auto one = named(xattr)) sum += padded(kEntryHead + one->name.size()) + padded(one->value.size());
  }
  return sum;
}

/// Entries ascend from `area`'s start, values descend from its end. Value offsets count from `base`.
void encode(std::span<const Named> all, std::span<std::byte> area, std::size_t base, bool hashed) {
  std::size_t at = 0, value_at = area.size();
  for (const auto& one : all) {
    value_at -= padded(one.value.size());
    std::ranges::copy(std::as_bytes(std::span(one.value)), area.begin() + static_cast<std::ptrdiff_t>(value_at));
    auto* entry = reinterpret_cast<ext2_ext_attr_entry*>(area.data() + at);
    entry->e_name_len = static_cast<std::uint8_t>(one.name.size());
    entry->e_name_index = one.index;
    entry->e_value_offs = one.value.empty() ? 0 : static_cast<std::uint16_t>(value_at + base);
    entry->e_value_inum = 0;
    entry->e_value_size = static_cast<std::uint32_t>(one.value.size());
    std::memcpy(area.data() + at + kEntryHead, one.name.data(), one.name.size());
    entry->e_hash = hashed ? ext2fs_ext_attr_hash_entry(entry, area.data() + value_at) : 0;
    at += padded(kEntryHead + one.name.size());
  }
}

}  // namespace

bool keeps_xattr(std::string_view name) {
  if (name == "security.selinux" || name.starts_with("trusted.overlay.")) return false;
  return std::any_of(kPrefixes.begin(), kPrefixes.end(), [&](const Prefix& prefix) {
    return name.starts_with(prefix.text) && name.size() > prefix.text.size();
  });
}

bool xattrs_fit(std::span<const Xattr> xattrs) {
  return encoded_bytes(xattrs) + sizeof(ext2_ext_attr_header) <= kBlockBytes &&
         std::all_of(xattrs.begin(), xattrs.end(), [](const Xattr& xattr) {
           const auto one = named(xattr);
           return !one || one->name.size() <= kMostNameBytes;
         });
}

bool xattrs_fit_inode(std::span<const Xattr> xattrs) {
  return encoded_bytes(xattrs) + sizeof(std::uint32_t) <= kInlineXattrBytes;
}

void encode_inline_xattrs(std::span<const Xattr> xattrs, std::span<std::byte, kInlineXattrBytes> tail) {
  const std::uint32_t magic = EXT2_EXT_ATTR_MAGIC;
  std::memcpy(tail.data(), &magic, sizeof magic);
  encode(sorted(xattrs), tail.subspan(sizeof magic), 0, false);
}

void encode_xattr_block(std::span<const Xattr> xattrs, std::span<std::byte, kBlockBytes> block) {
  std::fill(block.begin(), block.end(), std::byte{0});
  auto* header = reinterpret_cast<ext2_ext_attr_header*>(block.data());
  header->h_magic = EXT2_EXT_ATTR_MAGIC;
  header->h_refcount = 1;
  header->h_blocks = 1;
  const auto all = sorted(xattrs);
  constexpr auto kHead = sizeof(ext2_ext_attr_header);
  encode(all, block.subspan(kHead), kHead, true);
  // The hash of the whole block is what the kernel shares blocks by; 0 says: do not.
  std::uint32_t hash = 0;
  for (std::size_t at = kHead, left = all.size(); left != 0; --left) {
    const auto* entry = reinterpret_cast<const ext2_ext_attr_entry*>(block.data() + at);
    if (entry->e_hash == 0) {
      hash = 0;
      break;
    }
    hash = (hash << 16) ^ (hash >> 16) ^ entry->e_hash;
    at += padded(kEntryHead + entry->e_name_len);
  }
  header->h_hash = hash;
}

}  // namespace nanobox::ext4
