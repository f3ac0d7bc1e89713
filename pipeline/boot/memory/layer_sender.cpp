#include "pipeline/boot/memory/layer_sender.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

namespace nanobox {

namespace {

using Clock = std::chrono::steady_clock;

Error failure(std::string reason, ErrorCode code = ErrorCode::vmm_failed) {
  return {
      .code = code, .attempted = "give the VMM a memory layer", .subject = "", .reason = std::move(reason), .mend = ""};
}

Error failure(int number) {
  return errno_error(number, "give the VMM a memory layer", "", ErrorCode::vmm_failed);
}

Result<void> wait_for(int socket, short events, Clock::time_point end) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    pollfd polled{socket, events, 0};
    const int ready = ::poll(&polled, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return fail(failure(errno));
    if (ready == 0) return fail(failure("it did not answer in time", ErrorCode::deadline_exceeded));
  }
}

Result<void> send_descriptor(int socket, int descriptor, Clock::time_point end) {
  char packet[] = "layer";
  iovec part{packet, sizeof packet - 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  auto* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return {};
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return fail(failure(errno));
    NANOBOX_TRY(wait_for(socket, POLLOUT, end));
  }
}

}  // namespace

Result<void> send_memory_layer(int socket, int layer_fd, std::chrono::milliseconds deadline) {
  const auto end = Clock::now() + deadline;
  NANOBOX_TRY(send_descriptor(socket, layer_fd, end));
  for (;;) {
    NANOBOX_TRY(wait_for(socket, POLLIN, end));
    std::array<char, 256> answer{};
    const auto got = ::recv(socket, answer.data(), answer.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0 && errno != ECONNRESET) return fail(failure(errno));
    if (got <= 0) return fail(failure("it has ended"));
    const std::string_view text(answer.data(), static_cast<std::size_t>(got));
    if (text == "ok") return {};
    return fail(failure(std::string(text)));
  }
}

}  // namespace nanobox
