#include "tools/nanobox/stdin_sender.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>

#include "tools/nanobox/api_client.hpp"

namespace nanobox::cli {
namespace {

constexpr std::size_t kMostPending = 256U << 10;

}  // namespace

std::optional<curl_waitfd> StdinSender::waits_for() const {
  if (at_end_ || end_sent_ || pending_.size() >= kMostPending) return std::nullopt;
  return curl_waitfd{.fd = STDIN_FILENO, .events = CURL_WAIT_POLLIN, .revents = 0};
}

Result<void> StdinSender::go_on(bool readable) {
  if (readable) NANOBOX_TRY(read_some());
  if (post_ && post_->ended()) NANOBOX_TRY(end_post());
  if (!post_ && !end_sent_ && (!pending_.empty() || at_end_)) post_piece();
  return {};
}

Result<void> StdinSender::read_some() {
  std::array<char, 65536> buffer;
  const auto got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return {};
  // A terminal that hung up has no more to give.
  if (got < 0 && errno != EIO) return fail(errno_error(errno, "read", "stdin"));
  if (got <= 0) at_end_ = true;
  if (got > 0) pending_.append(buffer.data(), static_cast<std::size_t>(got));
  return {};
}

void StdinSender::post_piece() {
  end_sent_ = at_end_;
  post_ = std::make_unique<Transfer>(loop_, ApiRequest{.method = "POST",
                                                       .path = process_path_ + "/stdin" + (at_end_ ? "?eof=1" : ""),
                                                       .body = std::move(pending_),
                                                       .patience = std::chrono::milliseconds{0},
                                                       .content_type = "application/octet-stream"});
  pending_.clear();
}

Result<void> StdinSender::end_post() {
  const auto answer = NANOBOX_TRY(post_->collect());
  post_.reset();
  if (answer.succeeded()) return {};
  auto error = error_of(answer, {.method = "POST", .path = process_path_ + "/stdin"});
  const bool unwanted = error.code == ErrorCode::process_ended || error.code == ErrorCode::stdin_closed ||
                        error.code == ErrorCode::process_not_found;
  end_sent_ = true;
  if (unwanted) return {};
  error.attempted = "send stdin";
  return fail(std::move(error));
}

}  // namespace nanobox::cli
