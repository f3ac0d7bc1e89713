#include "pipeline/boot/vmm/vm_sockets.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <string>

namespace nanobox {

namespace {

// The address goes through the folder's descriptor, for it has room for 107 bytes only.
Result<sockaddr_un> address_in(const UniqueFd& folder, std::string_view name) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const auto path = "/proc/self/fd/" + std::to_string(folder.get()) + "/" + std::string(name);
  if (path.size() >= sizeof address.sun_path)
    return fail(errno_error(ENAMETOOLONG, "make a socket", std::string(name)));
  path.copy(address.sun_path, path.size());
  return address;
}

Result<UniqueFd> open_folder(const std::filesystem::path& folder) {
  UniqueFd fd(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(errno_error(errno, "open the VM's folder", folder));
  return fd;
}

Result<UniqueFd> new_socket(int flags) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!fd) return fail(errno_error(errno, "make a socket", ""));
  return fd;
}

Result<UniqueFd> connect_in(const UniqueFd& folder, const std::filesystem::path& subject, std::string_view name) {
  const auto address = NANOBOX_TRY(address_in(folder, name));
  auto fd = NANOBOX_TRY(new_socket(SOCK_NONBLOCK));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail(errno_error(errno, "connect to the VM", subject, ErrorCode::guest_gone));
  return fd;
}

}  // namespace

Result<VmSocket> make_vm_socket(const std::filesystem::path& run_dir, std::string_view name) {
  const auto folder = NANOBOX_TRY(open_folder(run_dir));
  const auto address = NANOBOX_TRY(address_in(folder, name));
  auto listening = NANOBOX_TRY(new_socket(0));
  unlinkat(folder.get(), std::string(name).c_str(), 0);
  if (fchmod(listening.get(), 0600) != 0 ||
      bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listening.get(), 4) != 0)
    return fail(errno_error(errno, "make a socket", run_dir / name));
  auto connected = NANOBOX_TRY(connect_in(folder, run_dir / name, name));
  return VmSocket{.listening = std::move(listening), .connected = std::move(connected)};
}

Result<UniqueFd> connect_vm_socket(const std::filesystem::path& run_dir, std::string_view name) {
  const auto folder = NANOBOX_TRY(open_folder(run_dir));
  return connect_in(folder, run_dir / name, name);
}

}  // namespace nanobox
