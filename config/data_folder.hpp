#pragma once

#include <filesystem>

#include "config/error.hpp"
#include "config/settings.hpp"

namespace nanobox {

/// DATA: $NANOBOX_DATA, else /var/lib/nanobox for root, else ~/.local/share/nanobox. Makes nothing.
/// @errors config_invalid where neither is known, or $NANOBOX_DATA is no absolute path
Result<std::filesystem::path> find_data_folder(const Environment& environment);

/// Fixed names inside DATA.
inline std::filesystem::path admin_key_file(const std::filesystem::path& data) {
  return data / "admin.key";
}
/// The daemon writes its bound address ("http://127.0.0.1:43211") here once it listens; clients read it.
inline std::filesystem::path address_file(const std::filesystem::path& data) {
  return data / "address";
}

}  // namespace nanobox
