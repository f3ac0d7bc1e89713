#include "pipeline/warmup/rootfs/ext4/geometry.hpp"

namespace nanobox::ext4 {

namespace {

bool is_power(std::uint64_t number, std::uint64_t base) {
  while (number > 1 && number % base == 0) number /= base;
  return number == 1;
}

}  // namespace

bool has_superblock(std::uint64_t group) {
  return group <= 1 || is_power(group, 3) || is_power(group, 5) || is_power(group, 7);
}

std::uint64_t after_reserved(std::uint64_t block) {
  const auto group = block / kBlocksPerGroup;
  const auto start = group * kBlocksPerGroup;
  return has_superblock(group) && block < start + kFirstFreeBlock ? start + kFirstFreeBlock : block;
}

std::uint64_t next_reserved(std::uint64_t block) {
  auto group = (block + kBlocksPerGroup - 1) / kBlocksPerGroup;
  while (!has_superblock(group)) ++group;
  return group * kBlocksPerGroup;
}

}  // namespace nanobox::ext4
