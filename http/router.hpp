#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/error.hpp"
#include "http/body_reader.hpp"
#include "http/request.hpp"
#include "http/responder.hpp"

namespace nanobox::http {

/// Answers now or later, on whatever thread. Called on a worker thread: it must not block.
using RouteHandler = std::function<void(Request, Responder)>;

/// Called at the end of the head, with an empty `Request::body`; the body comes by the reader.
using StreamingHandler = std::function<void(Request, BodyReader, Responder)>;

inline constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

struct RouteOptions {
  std::uint64_t max_body_bytes = 64ULL << 20;  ///< 413 above; `unlimited` is for streaming routes
  bool needs_key = true;                       ///< false for /healthz and /readyz
  bool while_draining = false;                 ///< answered during shutdown too (/healthz, /readyz)
  /// Streaming routes: the client may pause as long as it likes (a person types). Else ServerTimeouts::body_pause.
  bool body_may_pause = false;
  /// What is behind the route is not ours (forwarded ports): an Authorization that is no key of ours, an
  /// Idempotency-Key, and requests of web pages of the same origin are let through to it.
  bool forwards = false;
};

/// Which handler a method and a path have. Built once, then only read.
class Router {
public:
  /// `pattern` is made of fixed segments and whole-segment names: "/api/v1/sandboxes/{id}/exec"; a last "{rest...}"
  /// takes what is left of the path, undecoded. A fixed segment is preferred to a name. GET serves HEAD too, unless
  /// HEAD has a handler of its own. A pattern registered twice is a programming error (std::logic_error).
  void add(Method method, std::string_view pattern, RouteHandler handler, RouteOptions options = {});

  /// The same with a handler that reads the body while it arrives. Bytes count against no limit but the route's own.
  void add_streaming(Method method, std::string_view pattern, StreamingHandler handler,
                     RouteOptions options = {.max_body_bytes = unlimited});

  /// One of the two handlers is set.
  struct Match {
    const RouteHandler* handler = nullptr;
    const StreamingHandler* streaming = nullptr;
    RouteOptions options = {};
    std::string pattern = {};
    std::map<std::string, std::string, std::less<>> params = {};
  };
  struct NoRoute {};
  struct OtherMethods {
    std::string allow;  ///< "GET, HEAD, DELETE"
  };
  using Found = std::variant<Match, NoRoute, OtherMethods>;

  /// `path` as sent: segments are split first and decoded then; empty segments do not count.
  /// @errors malformed_request: a percent escape that is none, or one of NUL
  Result<Found> find(Method method, std::string_view path) const;

  /// Each registered method and pattern, sorted: for documentation and tests.
  std::vector<std::pair<Method, std::string>> routes() const;

private:
  struct Endpoint {
    RouteHandler handler;
    StreamingHandler streaming;
    RouteOptions options;
  };
  struct Node {
    std::map<std::string, std::unique_ptr<Node>, std::less<>> fixed;
    std::unique_ptr<Node> named;
    std::string pattern;
    std::vector<std::string> names;
    bool takes_rest = false;
    std::map<Method, Endpoint> endpoints;
    std::unique_ptr<Node> rest;
  };
  void insert(Method method, std::string_view pattern, Endpoint endpoint);
  static const Node* walk(const Node& node, const std::vector<std::string_view>& segments, std::size_t at,
                          std::vector<std::string_view>& values, std::string_view path);

  Node root_;
};

}  // namespace nanobox::http
