#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "config/listen_address.hpp"

namespace nanobox {

/// What of NanoBox this process is.
enum class Role : std::uint8_t { all = 1, control, node };

struct RoleOptions {
  Role role = Role::all;
  std::optional<ListenAddress> join;  ///< of a node that has not joined yet: the control plane's join port
  std::filesystem::path token_file;   ///< of the same
};

}  // namespace nanobox
