#pragma once

#include <cstdint>
#include <filesystem>

namespace nanobox {

/// One thing the VMM finds in its root; there is nothing else in it. Parents are made as needed.
struct RootEntry {
  enum class Kind : std::uint8_t { file = 1, folder, device, symlink };
  Kind kind = Kind::file;
  std::filesystem::path source;  ///< on the host, absolute; what is writable is no symlink. Of a symlink: its text
  std::filesystem::path target;  ///< in the new root, absolute. At level `minimal` it must equal `source`
  bool read_only = true;         ///< what is writable is not executable; devices: give false
};

}  // namespace nanobox
