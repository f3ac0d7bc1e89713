#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "config/error.hpp"
#include "tools/nanobox/api_client.hpp"

namespace nanobox::cli {

/// Something of a sandbox that is answered by events: a command to run, the output of a process, a log.
struct Followed {
  ApiRequest request;
  std::string sandbox_id;
  /// Our stdin is sent to it while it runs; the id of its process is known from here, or from its `started` event.
  bool sends_stdin = false;
  std::string process_id = {};
  /// Called every `tick_every` meanwhile; may ask things with another client.
  std::function<void()> tick = {};
  std::chrono::milliseconds tick_every{0};
  /// GET only, with the last event's id at the end of this path: asked again where the connection breaks.
  std::string resume_path = {};
  bool is_log = false;  ///< has no exit code; ends when the server ends it
};

/// Passes output on as it comes. @returns the exit code of the process; 0 of a log
/// @errors the server's · io_failed: the stream broke off · cancelled
Result<int> follow(ApiClient& client, const Followed& followed);

std::string process_path(const std::string& sandbox_id, const std::string& process_id);

}  // namespace nanobox::cli
