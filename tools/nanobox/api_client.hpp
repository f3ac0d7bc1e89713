#pragma once

#include <curl/curl.h>
#include <rapidjson/document.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "tools/nanobox/event_stream.hpp"
#include "tools/nanobox/interruption.hpp"

namespace nanobox::cli {

/// Where a server is and how to be let in.
struct ServerAddress {
  std::string url;  ///< "http://127.0.0.1:8080", without a slash at the end
  std::string key;  ///< empty: none
};

/// What to ask.
struct ApiRequest {
  std::string method = "GET";
  std::string path;                            ///< behind the URL: "/api/v1/sandboxes"
  std::string body = {};                       ///< JSON; empty: none
  std::chrono::milliseconds patience{30'000};  ///< for the whole answer; 0: as long as it takes
  /// Called every `tick_every` while waiting; may ask things with another client.
  std::function<void()> tick = {};
  std::chrono::milliseconds tick_every{0};
};

struct ApiAnswer {
  long status = 0;
  std::string content_type;
  std::string request_id;
  std::string body;
  /// The body parsed; Null where it is no JSON.
  rapidjson::Document json() const;
};

/// One connection to one server. Waits with poll; a signal ends any waiting with `cancelled`. Not thread-safe.
class ApiClient {
public:
  /// @param interruption  borrowed; null: cannot be interrupted
  ApiClient(ServerAddress server, Interruption* interruption);

  /// Any answer, whatever its status. @errors io_failed (unreachable, cut) · deadline_exceeded · cancelled
  Result<ApiAnswer> send(const ApiRequest& request);

  /// An answer of 2xx; others become the Error that their problem+json describes.
  Result<ApiAnswer> ask(const ApiRequest& request);

  /// Reads server-sent events until the server ends the stream or `on_event` returns false.
  /// @returns false where the server answered with something else than a stream
  Result<bool> watch(const std::string& path, const std::function<bool(const ServerEvent&)>& on_event);

  const ServerAddress& server() const { return server_; }

private:
  struct EasyCleanup {
    void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
  };
  struct MultiCleanup {
    void operator()(CURLM* handle) const noexcept { curl_multi_cleanup(handle); }
  };
  struct Transfer;
  Result<void> perform(Transfer& transfer, const ApiRequest& request);

  ServerAddress server_;
  Interruption* interruption_;
  std::unique_ptr<CURL, EasyCleanup> easy_;
  std::unique_ptr<CURLM, MultiCleanup> multi_;
};

/// The Error that a problem object (RFC 9457) describes.
Error error_of_problem(const rapidjson::Value& problem);

/// The Error in a problem+json body, or one made from the status.
Error error_of(const ApiAnswer& answer, const ApiRequest& request);

/// Percent-encodes one segment or query value.
std::string url_encode(std::string_view text);

}  // namespace nanobox::cli
