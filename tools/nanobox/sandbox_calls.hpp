#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "config/settings.hpp"
#include "tools/nanobox/api_client.hpp"
#include "tools/nanobox/warm_up.hpp"

namespace nanobox::cli {

using Variables = std::map<std::string, std::string>;

/// What a sandbox is asked to be.
struct CreateCall {
  std::string template_name;
  SizeOptions sizes;
  Variables env;
  Variables metadata;
  std::optional<std::uint64_t> timeout_sec;
  std::string network_mode;     ///< empty: the server's default
  std::string boot = {};        ///< empty: the fastest way there is
  std::string on_timeout = {};  ///< empty: destroy
};
/// @returns the server's answer
Result<ApiAnswer> create_sandbox(ApiClient& client, const CreateCall& call);

/// Asks where such a sandbox would be placed, and makes none.
/// @returns the server's answer: {"node_id","because","others"} @errors io_failed: an older server, which made one
Result<ApiAnswer> place_sandbox(ApiClient& client, const CreateCall& call);

/// A command to run in a sandbox.
struct ExecCall {
  std::string sandbox_id;
  std::vector<std::string> command;
  Variables env;
  std::string cwd;
  std::string user;
  bool sends_stdin = false;      ///< else it reads an empty one
  std::uint64_t timeout_ms = 0;  ///< 0: none
  std::function<void()> tick = {};
  std::chrono::milliseconds tick_every{0};
};

/// Runs it; its output goes to the right streams as it comes. @returns its exit code, `kTimedOut` where its deadline
/// ended it
Result<int> exec_streamed(ApiClient& client, const ExecCall& call);

/// Runs it and prints the server's answer, with all of its output, as JSON. @returns as above
Result<int> exec_as_json(ApiClient& client, const ExecCall& call);

/// Starts it and leaves it. With `sends_stdin` its stdin stays open for others to write to.
/// @returns the server's answer, with the `process_id`
Result<ApiAnswer> exec_detached(ApiClient& client, const ExecCall& call);

/// Ends a sandbox; one that is gone already is success.
Result<void> remove_sandbox(ApiClient& client, const std::string& id);

/// "K=V", or "K" for the value of this process' own variable. @errors invalid_value
Result<Variables> read_variables(const std::vector<std::string>& texts, const Environment& environment);

std::string sandbox_path(const std::string& id);

}  // namespace nanobox::cli
