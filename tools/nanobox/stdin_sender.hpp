#pragma once

#include <memory>
#include <optional>
#include <string>

#include "config/error.hpp"
#include "tools/nanobox/transfer.hpp"

namespace nanobox::cli {

/// Sends our stdin to a process in a sandbox, piece by piece, while it runs: the next piece is read while one is on its
/// way, and goes out when the process has taken that one.
class StdinSender {
public:
  /// @param process_path  "/api/v1/sandboxes/{id}/processes/{process_id}"
  StdinSender(TransferLoop& loop, std::string process_path) : loop_(loop), process_path_(std::move(process_path)) {}

  /// What to wait for; nothing: no more is read now.
  std::optional<curl_waitfd> waits_for() const;
  /// To be called after each turn of the loop. A process that has ended or closed its stdin ends the sending.
  /// @param readable  what `waits_for` wanted has come
  Result<void> go_on(bool readable);

private:
  Result<void> read_some();
  void post_piece();
  Result<void> end_post();

  TransferLoop& loop_;
  std::string process_path_;
  std::string pending_;
  bool at_end_ = false;    ///< of our stdin
  bool end_sent_ = false;  ///< or nobody wants more
  std::unique_ptr<Transfer> post_;
};

}  // namespace nanobox::cli
