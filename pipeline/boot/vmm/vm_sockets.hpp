#pragma once

#include <filesystem>
#include <string_view>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// A Unix socket of a VM: the listening end goes to the VMM, which is connected already and so loses nothing.
struct VmSocket {
  UniqueFd listening;
  UniqueFd connected;  ///< non-blocking
};

/// Makes `run_dir`/`name`, in place of what is left of an earlier one; only this user may connect.
/// The folder's path may be longer than a socket's address.
Result<VmSocket> make_vm_socket(const std::filesystem::path& run_dir, std::string_view name);

/// Connects to a VMM that listens already. @errors guest_gone when nobody listens
Result<UniqueFd> connect_vm_socket(const std::filesystem::path& run_dir, std::string_view name);

}  // namespace nanobox
