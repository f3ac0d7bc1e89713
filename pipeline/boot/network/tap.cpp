#include "pipeline/boot/network/tap.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <string>

namespace nanobox {
namespace {

constexpr auto device = "/dev/net/tun";

Error tap_error(int number, std::string attempted, std::string_view name) {
  auto error = errno_error(number, std::move(attempted), std::string(name), ErrorCode::network_unavailable);
  if (number == ENOENT) error.mend = "load the kernel module tun, or give this container /dev/net/tun";
  if (number == EPERM) error.mend = "run nanoboxd as root, or with CAP_NET_ADMIN";
  return error;
}

}  // namespace

Result<UniqueFd> make_tap(std::string_view name) {
  auto tap = NANOBOX_TRY(open_tap(name, TapFrames::with_virtio_header));
  if (::ioctl(tap.get(), TUNSETPERSIST, 1) != 0) return fail(tap_error(errno, "keep tap", name));
  return tap;
}

Result<UniqueFd> open_tap(std::string_view name, TapFrames frames, std::optional<uid_t> owner) {
  UniqueFd tap(::open(device, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!tap) return fail(tap_error(errno, "open", device));
  ifreq request{};
  std::copy_n(name.data(), std::min<std::size_t>(name.size(), IFNAMSIZ - 1), request.ifr_name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (frames == TapFrames::with_virtio_header) request.ifr_flags |= IFF_VNET_HDR;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) return fail(tap_error(errno, "open tap", name));
  if (owner && ::ioctl(tap.get(), TUNSETOWNER, *owner) != 0) return fail(tap_error(errno, "give away tap", name));
  return tap;
}

}  // namespace nanobox
