#include "pipeline/boot/vmm/vm_parent/passed_fds.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "pipeline/boot/vmm/vm_parent/launch.hpp"

namespace nanobox {

Result<void> send_packet(int socket, std::string_view bytes, std::span<const int> descriptors) {
  alignas(cmsghdr) char control[CMSG_SPACE(most_passed_descriptors * sizeof(int))] = {};
  if (descriptors.size() > most_passed_descriptors)
    return fail(errno_error(E2BIG, "pass descriptors to", "nanobox-vm-parent"));
  iovec data{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  while (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0)
    if (errno != EINTR) return fail(errno_error(errno, "send to", "nanobox-vm-parent"));
  return {};
}

Result<Packet> receive_packet(int socket) {
  alignas(cmsghdr) char control[CMSG_SPACE(most_passed_descriptors * sizeof(int))];
  char buffer[8192];
  iovec data{.iov_base = buffer, .iov_len = sizeof buffer};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t count = 0;
  while ((count = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0)
    if (errno != EINTR) return fail(errno_error(errno, "hear from", "nanobox-vm-parent"));
  Packet packet{.bytes = std::string(buffer, static_cast<std::size_t>(count)), .descriptors = {}};
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = CMSG_LEN(0); at < header->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, reinterpret_cast<char*>(header) + at, sizeof fd);
      packet.descriptors.emplace_back(fd);
    }
  }
  if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
    return fail(errno_error(EMSGSIZE, "hear from", "nanobox-vm-parent"));
  return packet;
}

}  // namespace nanobox
