#include "pipeline/boot/network/network_namespace.hpp"

#include <fcntl.h>
#include <sched.h>

#include "pipeline/boot/network/own_thread.hpp"

namespace nanobox {
namespace {

constexpr auto own_namespace = "/proc/thread-self/ns/net";
constexpr auto forwarding = "net/ipv4/ip_forward";

Error namespace_error(int number, std::string attempted) {
  auto error = errno_error(number, std::move(attempted), "", ErrorCode::network_unavailable);
  if (number == EPERM) error.mend = "run nanoboxd as root, or with CAP_SYS_ADMIN";
  return error;
}

}  // namespace

Result<NetworkNamespace> NetworkNamespace::make() {
  UniqueFd fd;
  NANOBOX_TRY(run_on_own_thread([&]() -> Result<void> {
    if (::unshare(CLONE_NEWNET) != 0) return fail(namespace_error(errno, "make network namespace"));
    fd.reset(::open(own_namespace, O_RDONLY | O_CLOEXEC));
    if (!fd) return fail(namespace_error(errno, "open network namespace"));
    return {};
  }));
  return NetworkNamespace(std::move(fd));
}

Result<NetworkNamespace> NetworkNamespace::current() {
  UniqueFd fd(::open(own_namespace, O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(errno_error(errno, "open network namespace", own_namespace));
  return NetworkNamespace(std::move(fd));
}

Result<void> NetworkNamespace::enter(const std::function<void()>& work) const {
  return run_on_own_thread([&]() -> Result<void> {
    if (::setns(fd_.get(), CLONE_NEWNET) != 0) return fail(namespace_error(errno, "enter network namespace"));
    work();
    return {};
  });
}

Result<void> write_sysctl(const std::string& name, std::string_view value) {
  const auto path = "/proc/sys/" + name;
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    auto error = errno_error(errno, "set", path, ErrorCode::network_unavailable);
    if (errno == EROFS) error.mend = "mount /proc/sys writable";
    return fail(std::move(error));
  }
  return {};
}

Result<std::string> read_sysctl(const std::string& name) {
  const auto path = "/proc/sys/" + name;
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[256];
  const auto length = fd ? ::read(fd.get(), text, sizeof text) : -1;
  if (length < 0) return fail(errno_error(errno, "read", path, ErrorCode::file_unreadable));
  std::string value(text, static_cast<std::size_t>(length));
  while (!value.empty() && value.back() == '\n') value.pop_back();
  return value;
}

Result<bool> forwards_packets() {
  return NANOBOX_TRY(read_sysctl(forwarding)) == "1";
}

Result<void> forward_packets() {
  return write_sysctl(forwarding, "1");
}

}  // namespace nanobox
