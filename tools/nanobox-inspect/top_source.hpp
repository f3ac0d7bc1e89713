#pragma once

#include "tools/nanobox-inspect/run_feed.hpp"
#include "tools/nanobox-inspect/top_frame.hpp"

namespace nanobox::inspection {

/// Asks a server for what `top` shows. What it does not tell (an older one, or not to this key) is left out, with the
/// reason in its place.
class TopSource {
public:
  TopSource(cli::ApiClient& client, RunQuery query, std::int64_t window_sec)
      : client_(client), feed_(std::move(query), window_sec * 1'000'000), window_sec_(window_sec) {}

  /// Asks; what was known stays where the server does not answer, and `problem` says so. @errors cancelled
  Result<void> refresh(TopData& data, const TopState& state);

private:
  Result<void> ask(TopData& data, const TopState& state);
  Result<void> ask_opened(TopData& data, const TopState& state);

  cli::ApiClient& client_;
  RunFeed feed_;
  std::int64_t window_sec_;
};

}  // namespace nanobox::inspection
