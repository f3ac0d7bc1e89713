#pragma once

#include <rapidjson/document.h>

#include <functional>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "tools/nanobox/event_stream.hpp"
#include "tools/nanobox/transfer.hpp"

namespace nanobox::cli {

/// One connection to one server. Waits with poll; a signal ends any waiting with `cancelled`. Not thread-safe.
class ApiClient {
public:
  /// @param interruption  borrowed; null: cannot be interrupted
  ApiClient(ServerAddress server, Interruption* interruption) : loop_(std::move(server), interruption) {}

  /// Any answer, whatever its status. @errors io_failed (unreachable, cut) · deadline_exceeded · cancelled
  Result<ApiAnswer> send(const ApiRequest& request);

  /// An answer of 2xx; others become the Error that their problem+json describes.
  Result<ApiAnswer> ask(const ApiRequest& request);

  /// Reads server-sent events until the server ends the stream or `on_event` returns false.
  /// @returns false where the server answered with something else than a stream
  Result<bool> watch(const std::string& path, const std::function<bool(const ServerEvent&)>& on_event);

  /// For requests whose bodies stream.
  TransferLoop& loop() { return loop_; }
  const ServerAddress& server() const { return loop_.server(); }

private:
  TransferLoop loop_;
};

/// The Error that a problem object (RFC 9457) describes.
Error error_of_problem(const rapidjson::Value& problem);

/// The Error in a problem+json body, or one made from the status.
Error error_of(const ApiAnswer& answer, const ApiRequest& request);

/// Percent-encodes one segment or query value.
std::string url_encode(std::string_view text);

}  // namespace nanobox::cli
