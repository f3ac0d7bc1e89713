#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace nanobox::test {

/// What a path in an ext4 image is, read by libext2fs, which shares no code with our writer's folders, inodes and
/// extents.
struct Seen {
  char type = '?';  ///< f d l c b p
  unsigned mode = 0;
  std::uint32_t uid = 0, gid = 0;
  std::uint64_t size = 0;
  std::string content = {};  ///< file: bytes; symlink: target; device: "major:minor"
  std::int64_t mtime = 0;
  unsigned mtime_nsec = 0;
  unsigned links = 0;
  std::uint32_t inode = 0;
  std::uint64_t blocks = 0;  ///< of 512 bytes
  std::map<std::string, std::string> xattrs = {};
};

/// Every path, "/" for the root and "/a/b" below.
std::map<std::string, Seen> read_image(const std::filesystem::path& image);

/// The output of `e2fsck -fn`; empty when it finds nothing to say against the image.
std::string e2fsck_complaints(const std::filesystem::path& image);

}  // namespace nanobox::test
