#include "pipeline/warmup/source/http_session.hpp"

#include <algorithm>
#include <new>
#include <optional>

namespace nanobox {

namespace {

constexpr std::size_t kMaxHeaderBytes = 256U << 10;
constexpr std::size_t kMaxRefusalBytes = 16U << 10;
constexpr std::string_view kAttempted = "ask registry";

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

/// What libcurl's callbacks work on; nothing may be thrown through them.
struct Exchange {
  CURL* easy;
  const std::function<Result<void>(const HttpAnswer&, std::string_view)>& sink;
  HttpAnswer answer = {};
  std::size_t header_bytes = 0;
  std::optional<Error> problem = std::nullopt;

  void out_of_memory() {
    problem = Error{.code = ErrorCode::internal,
                    .attempted = std::string(kAttempted),
                    .subject = "",
                    .reason = "out of memory",
                    .mend = ""};
  }
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == '\r' || text.back() == '\n' || text.back() == ' ' || text.back() == '\t'))
    text.remove_suffix(1);
  return text;
}

void take_header(Exchange& exchange, std::string_view line) {
  if (line.starts_with("HTTP/")) {  // a new head: an informational one came before
    exchange.answer = {};
    return;
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  std::string value(trimmed(line.substr(colon + 1)));
  if (name == "www-authenticate") exchange.answer.challenges.push_back(value);
  exchange.answer.headers[std::move(name)] = std::move(value);
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) noexcept {
  auto& exchange = *static_cast<Exchange*>(user);
  try {
    exchange.header_bytes += size * count;
    if (exchange.header_bytes > kMaxHeaderBytes) {
      exchange.problem = Error{.code = ErrorCode::registry_failed,
                               .attempted = std::string(kAttempted),
                               .subject = "",
                               .reason = "the answer's header is larger than 256 KiB",
                               .mend = ""};
      return 0;
    }
    take_header(exchange, {data, size * count});
    return size * count;
  } catch (...) {
    exchange.out_of_memory();
    return 0;
  }
}

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) noexcept {
  auto& exchange = *static_cast<Exchange*>(user);
  try {
    const std::string_view bytes(data, size * count);
    curl_easy_getinfo(exchange.easy, CURLINFO_RESPONSE_CODE, &exchange.answer.status);
    if (exchange.answer.status / 100 != 2) {
      auto& refusal = exchange.answer.refusal;
      refusal += bytes.substr(0, kMaxRefusalBytes - std::min(refusal.size(), kMaxRefusalBytes));
      return refusal.size() < kMaxRefusalBytes ? bytes.size() : 0;
    }
    if (auto taken = exchange.sink(exchange.answer, bytes); !taken) {
      exchange.problem = std::move(taken).error();
      return 0;
    }
    return bytes.size();
  } catch (...) {
    exchange.out_of_memory();
    return 0;
  }
}

/// @param heard  an answer's head had come: the server is there, and it speaks this scheme
Error transport_error(CURLcode code, const char* detail, const std::string& url, bool heard) {
  Error error{.code = heard ? ErrorCode::blob_truncated : ErrorCode::registry_unreachable,
              .attempted = std::string(kAttempted),
              .subject = url.substr(0, url.find('?')),
              .reason = *detail ? detail : curl_easy_strerror(code),
              .mend = "check that the registry is up and can be reached from here",
              .transient = true};
  switch (code) {
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2_STREAM:
      error.mend = "try again; if it stays so, look at the registry or the proxy before it";
      break;
    case CURLE_OPERATION_TIMEDOUT:
      error.mend = "try again; the registry or the network is slow";
      break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CERTPROBLEM:
      error.mend = "name the registry's CA in [oci] ca_file, or the registry in [oci] insecure_registries";
      error.transient = false;
      break;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      error.code = ErrorCode::registry_failed;
      error.mend = "the registry named an address that is none";
      error.transient = false;
      break;
    default:
      break;
  }
  return error;
}

void start_library() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);  // once, thread-safe by the language
  if (started != CURLE_OK) throw std::bad_alloc();
}

}  // namespace

std::string HttpAnswer::header(const std::string& lower_case_name) const {
  const auto found = headers.find(lower_case_name);
  return found == headers.end() ? std::string() : found->second;
}

HttpSession::HttpSession() {
  start_library();
  multi_.reset(curl_multi_init());
  easy_.reset(curl_easy_init());
  if (!multi_ || !easy_) throw std::bad_alloc();
}

HttpSession::~HttpSession() = default;

Result<HttpAnswer> HttpSession::perform(
    const StageContext& context, const HttpPolicy& policy, const HttpRequest& request,
    const std::function<Result<void>(const HttpAnswer& answer, std::string_view bytes)>& sink) {
  NANOBOX_TRY(context.check(std::string(kAttempted)));
  CURL* easy = easy_.get();
  curl_easy_reset(easy);  // keeps connections
  Exchange exchange{.easy = easy, .sink = sink};
  HeaderList headers;
  for (const auto& line : request.headers) {
    auto* longer = curl_slist_append(headers.get(), line.c_str());
    if (!longer) throw std::bad_alloc();
    (void)headers.release();
    headers.reset(longer);
  }
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_NOBODY, request.head ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "nanobox");
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, static_cast<long>(policy.connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 64L);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(policy.stall_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &exchange);
  if (request.loopback) curl_easy_setopt(easy, CURLOPT_PROXY, "");
  if (!policy.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, policy.ca_file.c_str());
  if (!policy.verify_tls) {
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
  }

  CURLM* multi = multi_.get();
  if (curl_multi_add_handle(multi, easy) != CURLM_OK) throw std::bad_alloc();
  const auto remove = [&](CURL* handle) { curl_multi_remove_handle(multi, handle); };
  const std::unique_ptr<CURL, decltype(remove)> added(easy, remove);
  const std::stop_callback wake(context.stop, [multi] { curl_multi_wakeup(multi); });
  for (int running = 1; running > 0;) {
    if (curl_multi_perform(multi, &running) != CURLM_OK) break;
    NANOBOX_TRY(context.check(std::string(kAttempted)));
    if (running == 0) break;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(context.deadline - std::chrono::steady_clock::now());
    curl_multi_poll(multi, nullptr, 0, static_cast<int>(std::clamp<std::int64_t>(left.count(), 1, 1000)), nullptr);
  }
  CURLcode outcome = CURLE_FAILED_INIT;
  int queued = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi, &queued))
    if (message->msg == CURLMSG_DONE) outcome = message->data.result;

  if (exchange.problem) return fail(std::move(*exchange.problem));
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &exchange.answer.status);
  const bool refused = exchange.answer.status >= 300;  // whatever became of its body
  if (outcome != CURLE_OK && !refused)
    return fail(transport_error(outcome, detail, request.url, exchange.answer.status != 0));
  return std::move(exchange.answer);
}

}  // namespace nanobox
