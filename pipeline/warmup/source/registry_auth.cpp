#include "pipeline/warmup/source/registry_auth.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <vector>

#include "pipeline/warmup/source/json_read.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kMaxTokenBytes = 64U << 10;

bool is_space(char c) {
  return c == ' ' || c == '\t';
}
bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

/// Reads tokens, `=` and quoted strings off the front of a header.
class Scanner {
public:
  explicit Scanner(std::string_view text) : rest_(text) {}
  bool done() {
    skip();
    return rest_.empty();
  }
  bool take(char c) {
    skip();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string_view token() {
    skip();
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_token_char);
    const auto out = rest_.substr(0, static_cast<std::size_t>(end - rest_.begin()));
    rest_.remove_prefix(out.size());
    return out;
  }
  std::optional<std::string> value() {
    if (!take('"')) {
      const auto plain = token();
      return plain.empty() ? std::nullopt : std::optional<std::string>(plain);
    }
    std::string out;
    while (!rest_.empty()) {
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return out;
      if (c == '\\' && !rest_.empty()) {
        c = rest_.front();
        rest_.remove_prefix(1);
      }
      out += c;
    }
    return std::nullopt;
  }

private:
  void skip() {
    while (!rest_.empty() && is_space(rest_.front())) rest_.remove_prefix(1);
  }
  std::string_view rest_;
};

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~:/,").find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += "0123456789ABCDEF"[byte >> 4];
      out += "0123456789ABCDEF"[byte & 15];
    }
  }
  return out;
}

}  // namespace

std::optional<AuthChallenge> parse_challenge(std::string_view header) {
  std::vector<AuthChallenge> found;
  bool known = false;  // whether parameters belong to found.back()
  for (Scanner scanner(header); !scanner.done();) {
    if (scanner.take(',')) continue;
    const auto word = lower(scanner.token());
    if (word.empty()) break;
    if (scanner.take('=')) {
      auto value = scanner.value();
      if (!value) break;
      if (!known) continue;
      if (word == "realm")
        found.back().realm = std::move(*value);
      else if (word == "service")
        found.back().service = std::move(*value);
      else if (word == "scope")
        found.back().scope = std::move(*value);
      continue;
    }
    known = word == "basic" || word == "bearer";
    if (known) {
      found.emplace_back();
      found.back().scheme = word == "basic" ? AuthChallenge::Scheme::basic : AuthChallenge::Scheme::bearer;
    }
  }
  for (const auto scheme : {AuthChallenge::Scheme::bearer, AuthChallenge::Scheme::basic})
    for (const auto& challenge : found)
      if (challenge.scheme == scheme && (scheme == AuthChallenge::Scheme::basic || !challenge.realm.empty()))
        return challenge;
  return std::nullopt;
}

std::string basic_authorization(const Credentials& credentials) {
  return "Basic " + encode_base64(credentials.username + ":" + credentials.password);
}

std::string token_url(const AuthChallenge& challenge, const std::string& default_scope) {
  std::string url = challenge.realm;
  char joint = url.find('?') == std::string::npos ? '?' : '&';
  if (!challenge.service.empty()) {
    url += joint + std::string("service=") + percent_encoded(challenge.service);
    joint = '&';
  }
  url += joint + std::string("scope=") + percent_encoded(challenge.scope.empty() ? default_scope : challenge.scope);
  return url;
}

Result<std::string> parse_token(std::string_view json) {
  rapidjson::Document document;
  if (parse_json(document, json)) {
    for (const char* key : {"token", "access_token"}) {
      auto token = json_text(document, key);
      const bool clean = std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7f; });
      if (!token.empty() && token.size() <= kMaxTokenBytes && clean) return token;
    }
  }
  return fail({.code = ErrorCode::registry_failed,
               .attempted = "fetch token",
               .subject = "",
               .reason = "the token server's answer holds no token",
               .mend = "the registry's authentication is misconfigured"});
}

std::string encode_base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0 || text.size() > (1U << 20)) return std::nullopt;
  const auto padding = static_cast<std::size_t>(text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0);
  std::string out(text.size() / 4 * 3, '\0');
  const int length =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                      static_cast<int>(text.size()));
  if (length < 0) return std::nullopt;
  out.resize(static_cast<std::size_t>(length) - padding);
  return out;
}

}  // namespace nanobox
