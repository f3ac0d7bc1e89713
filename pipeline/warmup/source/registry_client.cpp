#include "pipeline/warmup/source/registry_client.hpp"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include "config/sha256.hpp"
#include "pipeline/warmup/source/json_read.hpp"
#include "pipeline/warmup/source/manifest.hpp"

namespace nanobox {

namespace {

constexpr int kMaxRedirects = 5;
constexpr std::size_t kMaxTokenAnswer = 256U << 10;
constexpr std::uint32_t kMaxRetryAfter = 24 * 3600;
constexpr std::string_view kAccept =
    "Accept: application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, FreeUrl>;

std::string url_part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  const std::unique_ptr<char, decltype(&curl_free)> owned(text, &curl_free);
  return text;
}

Url parse_url(const std::string& text) {
  Url url(curl_url());
  if (!url || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return nullptr;
  return url;
}

std::string origin(CURLU* url) {
  return url_part(url, CURLUPART_SCHEME) + "://" + url_part(url, CURLUPART_HOST) + ":" +
         url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

bool is_redirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

std::uint32_t retry_after_sec(const std::string& header) {
  std::uint32_t seconds = 0;
  const auto [end, problem] = std::from_chars(header.data(), header.data() + header.size(), seconds);
  if (problem == std::errc{} && end == header.data() + header.size()) return std::min(seconds, kMaxRetryAfter);
  const auto when = curl_getdate(header.c_str(), nullptr);
  const auto now = std::time(nullptr);
  if (when <= now) return 0;
  return static_cast<std::uint32_t>(std::min<std::int64_t>(when - now, kMaxRetryAfter));
}

/// The registry's own code for its refusal, if it is one of the specification's: its free text may hold anything,
/// even what we sent.
std::string_view refusal_code(const std::string& body) {
  static constexpr std::array known = {"BLOB_UNKNOWN", "DENIED",       "MANIFEST_INVALID", "MANIFEST_UNKNOWN",
                                       "NAME_INVALID", "NAME_UNKNOWN", "TOOMANYREQUESTS",  "UNAUTHORIZED",
                                       "UNSUPPORTED",  "UNAVAILABLE",  "TAG_INVALID",      "UNKNOWN"};
  rapidjson::Document document;
  if (!parse_json(document, body)) return {};
  const auto* errors = json_member(document, "errors");
  if (!errors || !errors->IsArray() || errors->Empty()) return {};
  const auto code = json_text((*errors)[0], "code");
  for (const std::string_view name : known)
    if (name == code) return name;
  return {};
}

std::string lower(std::string text) {
  for (auto& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

bool names(const std::vector<std::string>& registries, const std::string& registry) {
  return std::any_of(registries.begin(), registries.end(),
                     [name = lower(registry)](const auto& entry) { return lower(entry) == name; });
}

/// "bytes 100-199/200" begins at 100.
bool range_begins_at(const std::string& content_range, std::uint64_t offset) {
  return content_range.starts_with("bytes " + std::to_string(offset) + "-");
}

}  // namespace

bool is_loopback(const std::string& registry) {
  if (registry.starts_with("[")) return registry.starts_with("[::1]");
  const auto host = registry.substr(0, registry.find(':'));
  if (host == "localhost") return true;
  in_addr address{};
  return ::inet_pton(AF_INET, host.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

/// A session for one request, given back for the next.
class RegistryClient::Lease {
public:
  explicit Lease(RegistryClient& client) : client_(client) {
    {
      const std::lock_guard lock(client_.mutex_);
      if (!client_.idle_.empty()) {
        session_ = std::move(client_.idle_.back());
        client_.idle_.pop_back();
      }
    }
    if (!session_) session_ = std::make_unique<HttpSession>();
  }
  ~Lease() {
    const std::lock_guard lock(client_.mutex_);
    if (client_.idle_.size() < client_.idle_.capacity()) client_.idle_.push_back(std::move(session_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  HttpSession& operator*() const { return *session_; }

private:
  RegistryClient& client_;
  std::unique_ptr<HttpSession> session_;
};

RegistryClient::RegistryClient(RegistryReference reference, const ImageSourceSettings& settings,
                               std::optional<Credentials> credentials, HttpPolicy policy)
    : reference_(std::move(reference)),
      credentials_(std::move(credentials)),
      max_manifest_bytes_(settings.max_manifest_bytes),
      host_(reference_.registry == "docker.io" ? "registry-1.docker.io" : reference_.registry),
      loopback_(is_loopback(reference_.registry)),
      insecure_(names(settings.insecure_registries, reference_.registry)),
      policy_(std::move(policy)) {
  if (policy_.ca_file.empty()) policy_.ca_file = settings.ca_file;
  if (insecure_) policy_.verify_tls = false;
  idle_.reserve(8);
}

std::vector<std::string> RegistryClient::schemes() const {
  {
    const std::lock_guard lock(mutex_);
    if (!scheme_.empty()) return {scheme_};
  }
  if (loopback_) return {"http", "https"};
  if (insecure_) return {"https", "http"};
  return {"https"};
}

std::string RegistryClient::authorization() const {
  const std::lock_guard lock(mutex_);
  return authorization_;
}

Result<HttpAnswer> RegistryClient::follow(const StageContext& context, HttpRequest request,
                                          const std::string& authorization, const Sink& sink) {
  const auto broken = [&](std::string reason) {
    return fail({.code = ErrorCode::registry_failed,
                 .attempted = "follow redirect",
                 .subject = request.url.substr(0, request.url.find('?')),
                 .reason = std::move(reason),
                 .mend = "the registry is misconfigured"});
  };
  auto url = parse_url(request.url);
  if (!url) return broken("it is no address");
  const auto first_origin = origin(url.get());
  const auto plain_headers = request.headers;
  for (int hops = 0;; ++hops) {
    request.headers = plain_headers;
    if (!authorization.empty() && origin(url.get()) == first_origin)
      request.headers.push_back("Authorization: " + authorization);
    const auto host = url_part(url.get(), CURLUPART_HOST);
    request.loopback = is_loopback(host);
    auto answer = [&] {
      const Lease lease(*this);
      return (*lease).perform(context, policy_, request, sink);
    }();
    if (!answer) return answer;
    if (origin(url.get()) != first_origin) answer->challenges.clear();  // where we were sent may not ask us to log in
    if (!is_redirect(answer->status)) return answer;
    if (hops == kMaxRedirects) return broken("more than 5 redirects");
    const auto target = answer->header("location");
    const auto scheme_before = url_part(url.get(), CURLUPART_SCHEME);
    if (target.empty() || curl_url_set(url.get(), CURLUPART_URL, target.c_str(), 0) != CURLUE_OK)
      return broken("the registry redirects to no address");
    const auto scheme = url_part(url.get(), CURLUPART_SCHEME);
    if (scheme != "https" && scheme != "http") return broken("the registry redirects to a scheme other than http");
    if (scheme_before == "https" && scheme == "http") return broken("the registry redirects from https to http");
    curl_url_set(url.get(), CURLUPART_USER, nullptr, 0);
    curl_url_set(url.get(), CURLUPART_PASSWORD, nullptr, 0);
    request.url = url_part(url.get(), CURLUPART_URL);
  }
}

/// Asks with the first scheme that is answered, and keeps to it.
Result<HttpAnswer> RegistryClient::ask_with_scheme(const StageContext& context, const Question& question,
                                                   const Sink& sink) {
  if (question.whole_url)
    return follow(context, {.head = question.head, .url = question.path, .headers = question.headers}, "", sink);
  const auto candidates = schemes();
  std::optional<Error> first_problem;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto& scheme = candidates[i];
    const bool last = i + 1 == candidates.size();
    auto answer = follow(
        context, {.head = question.head, .url = scheme + "://" + host_ + question.path, .headers = question.headers},
        authorization(), sink);
    if (answer && !(answer->status == 400 && scheme == "http" && !last)) {  // "HTTP request to an HTTPS server"
      const std::lock_guard lock(mutex_);
      scheme_ = scheme;
      return answer;
    }
    if (answer) continue;
    if (answer.error().code != ErrorCode::registry_unreachable) return answer;  // it spoke
    if (!first_problem) first_problem = std::move(answer).error();
  }
  return fail(std::move(*first_problem));
}

Result<HttpAnswer> RegistryClient::ask(const StageContext& context, const Question& question, const Sink& sink) {
  const auto attempt = [&]() -> Result<HttpAnswer> {
    auto answer = ask_with_scheme(context, question, sink);
    if (!answer && answer.error().attempted == "ask registry") answer.error().attempted = question.attempted;
    return answer;
  };
  auto tried = authorization();
  auto answer = NANOBOX_TRY(attempt());
  // Twice, because another thread's new token may make the one just fetched old.
  for (int logins = 0; answer.status == 401 && !question.whole_url && logins < 2; ++logins) {
    if (auto authenticated = authenticate(context, answer, tried); !authenticated) {
      auto error = std::move(authenticated).error();
      if (error.subject.empty()) error.subject = question.subject;
      return fail(std::move(error));
    }
    tried = authorization();
    answer = NANOBOX_TRY(attempt());
  }
  if (answer.status / 100 != 2) return fail(refusal_error(question, answer));
  return answer;
}

Result<void> RegistryClient::authenticate(const StageContext& context, const HttpAnswer& refusal,
                                          const std::string& tried) {
  const std::lock_guard one_at_a_time(authenticating_);
  if (authorization() != tried) return {};  // another thread has just done it
  const auto unauthorized = [&](std::string reason) {
    return fail({.code = ErrorCode::registry_unauthorized,
                 .attempted = "log in at " + reference_.registry,
                 .subject = "",
                 .reason = std::move(reason),
                 .mend = credentials_ ? "check user name and password"
                                      : "give credentials in the request, in [[oci.credentials]] or by docker login"});
  };
  std::optional<AuthChallenge> challenge;
  for (const auto& header : refusal.challenges) {
    const auto parsed = parse_challenge(header);
    if (parsed && (!challenge || parsed->scheme == AuthChallenge::Scheme::bearer)) challenge = parsed;
  }
  if (!challenge) return unauthorized("the registry answered 401 and names no way to log in that we know");
  std::string next;
  if (challenge->scheme == AuthChallenge::Scheme::basic) {
    if (!credentials_) return unauthorized("the registry asks for user name and password");
    next = basic_authorization(*credentials_);
    if (next == tried) return unauthorized("the registry refuses these credentials");
  } else {
    next = "Bearer " + NANOBOX_TRY(fetch_token(context, *challenge));
  }
  const std::lock_guard lock(mutex_);
  authorization_ = std::move(next);
  return {};
}

Result<std::string> RegistryClient::fetch_token(const StageContext& context, const AuthChallenge& challenge) {
  const Question question{.attempted = "fetch token for " + reference_.registry,
                          .subject = "",
                          .path = token_url(challenge, "repository:" + reference_.repository + ":pull"),
                          .head = false,
                          .whole_url = true,
                          .headers = {}};
  const auto url = parse_url(question.path);
  const auto scheme = url ? url_part(url.get(), CURLUPART_SCHEME) : "";
  const bool plain = [&] {
    const std::lock_guard lock(mutex_);
    return scheme_ == "http";
  }();
  if (scheme != "https" && !(plain && scheme == "http"))
    return fail({.code = ErrorCode::registry_failed,
                 .attempted = question.attempted,
                 .subject = reference_.registry,
                 .reason = "the registry names a token server without TLS",
                 .mend = "the registry's authentication is misconfigured"});
  std::string body;
  auto answer = follow(context, {.head = false, .url = question.path, .headers = {}},
                       credentials_ ? basic_authorization(*credentials_) : "",
                       [&](const HttpAnswer&, std::string_view bytes) -> Result<void> {
                         if (body.size() + bytes.size() > kMaxTokenAnswer)
                           return fail({.code = ErrorCode::registry_failed,
                                        .attempted = question.attempted,
                                        .subject = reference_.registry,
                                        .reason = "the token server's answer is larger than 256 KiB",
                                        .mend = ""});
                         body += bytes;
                         return {};
                       });
  if (!answer) {
    if (answer.error().attempted == "ask registry") answer.error().attempted = question.attempted;
    return fail(std::move(answer).error());
  }
  if (answer->status / 100 != 2) return fail(refusal_error(question, *answer));
  auto token = parse_token(body);
  if (!token) token.error().subject = reference_.registry;
  return token;
}

Error RegistryClient::refusal_error(const Question& question, const HttpAnswer& answer) const {
  const auto code = refusal_code(answer.refusal);
  Error error{.code = ErrorCode::registry_failed,
              .attempted = question.attempted,
              .subject = question.subject.empty() ? canonical_name(reference_) : question.subject,
              .reason = reference_.registry + " answered " + std::to_string(answer.status) + (code.empty() ? "" : " ") +
                        std::string(code),
              .mend = "",
              .transient = false,
              .retry_after_sec = retry_after_sec(answer.header("retry-after"))};
  const std::string log_in = credentials_
                                 ? "check user name and password"
                                 : "give credentials in the request, in [[oci.credentials]] or by docker login";
  switch (answer.status) {
    case 401:
      error.code = ErrorCode::registry_unauthorized;
      error.mend = log_in + "; some registries answer this for images that do not exist";
      break;
    case 403:
      error.code = ErrorCode::registry_forbidden;
      error.mend = "ask the registry's owner for access, or " + log_in;
      break;
    case 404:
      error.code = ErrorCode::image_not_found;
      error.mend = "check the image's name and tag";
      break;
    case 429:
      error.code = ErrorCode::registry_rate_limited;
      error.transient = true;
      error.mend = error.retry_after_sec
                       ? "try again after " + std::to_string(error.retry_after_sec) + " s, or " + log_in
                       : "try again later, or " + log_in;
      break;
    default:
      if (answer.status >= 500 || answer.status == 408) {
        error.transient = true;
        error.mend = "try again later; the registry has a problem";
      } else {
        error.mend = "look at the registry's log";
      }
  }
  return error;
}

Result<ManifestDocument> RegistryClient::fetch_document(const StageContext& context, const std::string& reference,
                                                        const std::string& expected_digest) {
  const Question question{.attempted = "fetch manifest",
                          .subject = canonical_name(reference_),
                          .path = "/v2/" + reference_.repository + "/manifests/" + reference,
                          .head = false,
                          .whole_url = false,
                          .headers = {std::string(kAccept)}};
  std::string body;
  const auto answer =
      NANOBOX_TRY(ask(context, question, [&](const HttpAnswer&, std::string_view bytes) -> Result<void> {
        if (body.size() + bytes.size() > max_manifest_bytes_)
          return fail({.code = ErrorCode::manifest_invalid,
                       .attempted = question.attempted,
                       .subject = question.subject,
                       .reason = "it is larger than " + std::to_string(max_manifest_bytes_) + " bytes",
                       .mend = "name a container image"});
        body += bytes;
        return {};
      }));
  ManifestDocument document{.media_type = answer.header("content-type"), .bytes = std::move(body), .digest = {}};
  if (const auto semicolon = document.media_type.find(';'); semicolon != std::string::npos)
    document.media_type.resize(semicolon);
  document.digest = digest_of(document.bytes);
  auto expected = expected_digest;
  if (const auto told = answer.header("docker-content-digest"); expected.empty() && is_digest(told)) expected = told;
  if (!expected.empty() && expected != document.digest)
    return fail({.code = ErrorCode::digest_mismatch,
                 .attempted = question.attempted,
                 .subject = question.subject,
                 .reason = "expected " + expected + " but the registry sent " + document.digest,
                 .mend = "the registry's copy is damaged: push the image again"});
  return document;
}

Result<ManifestDocument> RegistryClient::named_document(const StageContext& context) {
  return fetch_document(context, reference_.digest.empty() ? reference_.tag : reference_.digest, reference_.digest);
}

Result<ManifestDocument> RegistryClient::document(const StageContext& context, const Descriptor& descriptor) {
  return fetch_document(context, descriptor.digest, descriptor.digest);
}

Result<ManifestDocument> RegistryClient::named_digest(const StageContext& context) {
  const auto& name = reference_.digest.empty() ? reference_.tag : reference_.digest;
  const Question question{.attempted = "ask for digest",
                          .subject = canonical_name(reference_),
                          .path = "/v2/" + reference_.repository + "/manifests/" + name,
                          .head = true,
                          .whole_url = false,
                          .headers = {std::string(kAccept)}};
  const auto answer =
      NANOBOX_TRY(ask(context, question, [](const HttpAnswer&, std::string_view) -> Result<void> { return {}; }));
  ManifestDocument document{
      .media_type = answer.header("content-type"), .bytes = {}, .digest = answer.header("docker-content-digest")};
  if (!is_digest(document.digest)) return named_document(context);
  return document;
}

Result<void> RegistryClient::read_blob(const StageContext& context, const Descriptor& descriptor, std::uint64_t offset,
                                       const BlobSink& sink) {
  Question question{.attempted = "fetch blob",
                    .subject = descriptor.digest,
                    .path = "/v2/" + reference_.repository + "/blobs/" + descriptor.digest,
                    .head = false,
                    .whole_url = false,
                    .headers = {}};
  if (is_foreign_layer(descriptor.media_type) && !descriptor.urls.empty()) {
    const auto url = parse_url(descriptor.urls.front());
    const auto scheme = url ? url_part(url.get(), CURLUPART_SCHEME) : "";
    const auto own_schemes = schemes();
    if (scheme != "https" && !(scheme == "http" && own_schemes.front() == "http"))
      return fail({.code = ErrorCode::layer_unsupported,
                   .attempted = question.attempted,
                   .subject = descriptor.digest,
                   .reason = "it is a foreign layer whose url is not of https",
                   .mend = "push the image with its foreign layers"});
    question.path = url_part(url.get(), CURLUPART_URL);
    question.whole_url = true;
  }
  if (offset > 0) question.headers.push_back("Range: bytes=" + std::to_string(offset) + "-");

  bool begun = false;
  std::uint64_t skip = 0;
  const auto begin = [&](const HttpAnswer& answer) -> Result<void> {
    begun = true;
    const auto wrong = [&](ErrorCode code, std::string reason) {
      return fail({.code = code,
                   .attempted = question.attempted,
                   .subject = descriptor.digest,
                   .reason = std::move(reason),
                   .mend = "the registry's copy is damaged: push the image again"});
    };
    if (answer.status == 206) {
      if (!range_begins_at(answer.header("content-range"), offset))
        return wrong(ErrorCode::registry_failed, "the registry sent another range than the one asked for");
      return {};
    }
    skip = offset;  // it knows no ranges: all comes anew
    const auto length = answer.header("content-length");
    if (length.empty() || length == std::to_string(descriptor.size)) return {};
    std::uint64_t told = 0;
    std::from_chars(length.data(), length.data() + length.size(), told);
    return wrong(told < descriptor.size ? ErrorCode::blob_truncated : ErrorCode::digest_mismatch,
                 "the registry holds " + length + " bytes, the manifest says " + std::to_string(descriptor.size));
  };
  NANOBOX_TRY(ask(context, question, [&](const HttpAnswer& answer, std::string_view bytes) -> Result<void> {
    if (!begun) NANOBOX_TRY(begin(answer));
    const auto skipped = std::min<std::uint64_t>(skip, bytes.size());
    skip -= skipped;
    bytes.remove_prefix(skipped);
    return bytes.empty() ? Result<void>{} : sink(bytes);
  }));
  return {};
}

}  // namespace nanobox
