#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <stdexcept>
#include <utility>

#include "config/unique_fd.hpp"
#include "pipeline/cluster/byte_stream.hpp"

namespace nanobox::test {

/// A ByteStream over a connected socket, that counts and can be made to end after so many bytes read.
class SocketStream final : public ByteStream {
public:
  explicit SocketStream(UniqueFd socket) : socket_(std::move(socket)) {}

  Result<std::size_t> read(std::span<std::byte> into) override {
    if (received_ >= cut_after) {
      cut();
      return lost();
    }
    const auto count = ::recv(socket_.get(), into.data(), into.size(), 0);
    if (count < 0 || is_cut_) return lost();
    received_ += static_cast<std::uint64_t>(count);
    return static_cast<std::size_t>(count);
  }
  Result<void> write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const auto count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count < 0) return lost();
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return {};
  }
  void cut() override {
    is_cut_ = true;
    ::shutdown(socket_.get(), SHUT_RDWR);
  }
  void end_writing() { ::shutdown(socket_.get(), SHUT_WR); }
  std::uint64_t received() const { return received_; }

  std::uint64_t cut_after = UINT64_MAX;

private:
  static tl::unexpected<Error> lost() {
    return fail({.code = ErrorCode::connection_lost,
                 .attempted = "move bytes",
                 .subject = "",
                 .reason = "cut",
                 .mend = "",
                 .transient = true});
  }
  UniqueFd socket_;
  std::atomic<bool> is_cut_ = false;
  std::uint64_t received_ = 0;
};

inline std::pair<UniqueFd, UniqueFd> connected_sockets() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("socketpair failed");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace nanobox::test
