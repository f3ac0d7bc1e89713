#pragma once

#include <cstdint>
#include <string>

#include "pipeline/boot/channel/tlv.hpp"

namespace nanobox {

enum class FileType : std::uint8_t { unknown, file, folder, symlink, char_device, block_device, fifo, socket };

/// What a guest tells about one of its files.
struct FileInfo {
  FileType type = FileType::unknown;
  std::uint64_t size_bytes = 0;
  std::uint32_t mode = 0;  ///< permission bits, at most 07777
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int64_t mtime_ns = 0;  ///< since 1970
  std::string target = {};    ///< of a symlink; raw bytes
  bool operator==(const FileInfo&) const = default;
};

/// Takes `entry` where it is one of a file's; returns whether it was.
bool take_file_tag(const Tlv& entry, FileInfo& info);

}  // namespace nanobox
