#pragma once

#include <curl/curl.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "pipeline/stage_context.hpp"

namespace nanobox {

struct HttpRequest {
  bool head = false;
  std::string url;
  std::vector<std::string> headers;  ///< "Name: value"
  bool loopback = false;             ///< never through a proxy
};

struct HttpAnswer {
  long status = 0;
  std::map<std::string, std::string> headers;  ///< by lower-case name; the last of equal ones
  std::vector<std::string> challenges;         ///< every WWW-Authenticate
  std::string refusal;                         ///< the first bytes of a body that is no 2xx

  std::string header(const std::string& lower_case_name) const;
};

/// How a server is spoken to.
struct HttpPolicy {
  std::filesystem::path ca_file;  ///< empty: the system's
  bool verify_tls = true;
  std::chrono::seconds connect_timeout{10};
  std::chrono::seconds stall_timeout{30};  ///< so long below 64 bytes a second ends the request
};

/// One connection's worth of HTTP: requests one after the other, the connection kept between them. Follows no redirect.
/// For one thread at a time.
class HttpSession {
public:
  HttpSession();
  ~HttpSession();
  HttpSession(const HttpSession&) = delete;
  HttpSession& operator=(const HttpSession&) = delete;

  /// @param sink  given the body of a 2xx answer as it comes; `answer` is filled (without `refusal`) by then
  /// @errors registry_unreachable (transient unless TLS was refused) · blob_truncated (cut off, transient) · the sink's
  /// ·
  ///         cancelled · deadline_exceeded
  Result<HttpAnswer> perform(const StageContext& context, const HttpPolicy& policy, const HttpRequest& request,
                             const std::function<Result<void>(const HttpAnswer& answer, std::string_view bytes)>& sink);

private:
  struct FreeEasy {
    void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
  };
  struct FreeMulti {
    void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
  };
  std::unique_ptr<CURLM, FreeMulti> multi_;
  std::unique_ptr<CURL, FreeEasy> easy_;
};

}  // namespace nanobox
