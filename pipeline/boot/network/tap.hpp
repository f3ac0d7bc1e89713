#pragma once

#include <sys/types.h>

#include <optional>
#include <string_view>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// How frames look on the descriptor.
enum class TapFrames : bool { bare, with_virtio_header };

/// Makes a TAP in the calling thread's network namespace that stays when its descriptor, which is returned, is closed;
/// frames have the virtio header. @errors network_unavailable (no /dev/net/tun, no right)
Result<UniqueFd> make_tap(std::string_view name);

/// Opens a TAP that is there. One descriptor at a time. @param owner  a user who may open it by name from now on, as
/// Firecracker does. @errors network_unavailable, also when another has it open
Result<UniqueFd> open_tap(std::string_view name, TapFrames frames, std::optional<uid_t> owner = std::nullopt);

}  // namespace nanobox
