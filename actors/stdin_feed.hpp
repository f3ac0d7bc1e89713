#pragma once

#include <optional>
#include <string>

#include "actors/guest_stream.hpp"

namespace nanobox {

/// Hands a command's whole stdin to its guest, piece by piece, as the way there has room; then closes it.
class StdinFeed {
public:
  /// @param bytes  nothing: there is none to hand over, and none is closed
  explicit StdinFeed(std::optional<std::string> bytes) : bytes_(std::move(bytes)) {}

  /// When the stream is open, and with each StdinWindow. @param queued  bytes that wait already
  void feed(const GuestStream& guest, std::size_t queued) {
    if (!bytes_ || done_) return;
    do {
      auto piece = bytes_->substr(sent_, kPiece);
      sent_ += piece.size();
      queued += piece.size();
      done_ = sent_ == bytes_->size();
      guest.write(std::move(piece), done_);
    } while (!done_ && queued < kPiece);
  }

private:
  static constexpr std::size_t kPiece = std::size_t{256} << 10;

  std::optional<std::string> bytes_;
  std::size_t sent_ = 0;
  bool done_ = false;
};

}  // namespace nanobox
