#include "http/auth.hpp"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "config/log.hpp"
#include "config/sha256.hpp"
#include "config/unique_fd.hpp"
#include "http/json/text.hpp"
#include "http/origin.hpp"
#include "http/transport/header_list.hpp"

namespace nanobox::http {
namespace {

using transport::list_items;
using transport::lower;

constexpr std::size_t shortest_admin_key = 16;
constexpr std::string_view bearer = "bearer ";
constexpr std::string_view protocol_key = "nanobox.key.";
constexpr std::string_view protocol_key64 = "nanobox.key64.";

bool is_owner_name(std::string_view text) {
  return !text.empty() && text.size() <= 32 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

std::string trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1));
}

Result<std::optional<std::string>> read_admin_key(const std::filesystem::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file && errno == ENOENT) return std::nullopt;
  if (!file) return fail(errno_error(errno, "read", path.string(), ErrorCode::file_unreadable));
  struct stat state {};
  if (::fstat(file.get(), &state) != 0)
    return fail(errno_error(errno, "read", path.string(), ErrorCode::file_unreadable));
  if (!S_ISREG(state.st_mode) || (state.st_mode & 077) != 0)
    return fail({.code = ErrorCode::file_unreadable,
                 .attempted = "read",
                 .subject = path.string(),
                 .reason = "others may read or write it, so that it is no secret",
                 .mend = "delete it (a new key is made), or chmod 600 it if nobody has seen it"});
  std::array<char, 4096> buffer;
  const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
  if (count < 0) return fail(errno_error(errno, "read", path.string(), ErrorCode::file_unreadable));
  auto key = trimmed({buffer.data(), static_cast<std::size_t>(count)});
  if (key.size() < shortest_admin_key)
    return fail({.code = ErrorCode::file_unreadable,
                 .attempted = "read",
                 .subject = path.string(),
                 .reason = "it holds no key",
                 .mend = "delete it: a new key is made at the next start"});
  return key;
}

Result<std::string> make_admin_key(const std::filesystem::path& path) {
  std::array<unsigned char, 32> random{};
  if (::RAND_bytes(random.data(), static_cast<int>(random.size())) != 1)
    return fail({.code = ErrorCode::io_failed,
                 .attempted = "make a key",
                 .subject = path.string(),
                 .reason = "there is no randomness",
                 .mend = {}});
  std::string key;
  for (const auto byte : random) {
    std::array<char, 3> digits{};
    std::snprintf(digits.data(), digits.size(), "%02x", byte);
    key += digits.data();
  }
  const auto half = path.string() + ".new";
  ::unlink(half.c_str());
  const UniqueFd file(::open(half.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return fail(errno_error(errno, "write", half));
  const auto line = key + "\n";
  errno = ENOSPC;
  if (::fchmod(file.get(), 0600) != 0 ||
      ::write(file.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()) || ::fsync(file.get()) != 0 ||
      ::rename(half.c_str(), path.c_str()) != 0) {
    auto error = errno_error(errno, "write", path.string());
    ::unlink(half.c_str());
    return fail(std::move(error));
  }
  return key;
}

// Without the port: "localhost:8080" → "localhost", "[::1]:8080" → "[::1]".
std::string host_name(std::string_view host) {
  const auto from = host.starts_with('[') ? host.find(']') : 0;
  if (from == std::string_view::npos) return {};
  const auto colon = host.find(':', from);
  return lower(host.substr(0, colon));
}

bool passed_a_proxy(const Request& request) {
  return std::ranges::any_of(request.headers, [](const auto& header) {
    return header.first == "forwarded" || header.first.starts_with("x-forwarded-") || header.first == "x-real-ip";
  });
}

bool is_protocol_key(std::string_view protocol) {
  return protocol.starts_with(protocol_key) || protocol.starts_with(protocol_key64);
}

// Browsers cannot set headers on WebSockets, so that the key comes as a protocol.
std::optional<std::string> key_among_protocols(const Request& request) {
  for (const auto& [name, value] : request.headers) {
    if (name != "sec-websocket-protocol") continue;
    for (const auto item : list_items(value)) {
      if (item.starts_with(protocol_key)) return std::string(item.substr(protocol_key.size()));
      if (!item.starts_with(protocol_key64)) continue;
      std::string text(item.substr(protocol_key64.size()));
      for (char& c : text) c = c == '-' ? '+' : c == '_' ? '/' : c;
      text.resize((text.size() + 3) / 4 * 4, '=');
      return json::from_base64(text).value_or("");
    }
  }
  return std::nullopt;
}

// Browsers say so, except for what the user typed into the address bar.
bool comes_from_a_page(const Request& request) {
  return request.header("origin") || request.header("sec-fetch-site").value_or("none") != "none";
}

bool comes_from_own_page(const Request& request) {
  const auto site = request.header("sec-fetch-site").value_or("none");
  return is_same_origin(request) && (site == "none" || site == "same-origin");
}

tl::unexpected<Error> unauthorized(std::string reason) {
  return fail({.code = ErrorCode::unauthorized,
               .attempted = "check key",
               .subject = {},
               .reason = std::move(reason),
               .mend =
                   "send Authorization: Bearer KEY; on the server's host the key is in admin.key of its data folder "
                   "or in [auth] keys"});
}

}  // namespace

NamedKey parse_key(std::string_view text) {
  const auto colon = text.find(':');
  if (colon != std::string_view::npos && colon + 1 < text.size() && is_owner_name(text.substr(0, colon)))
    return {std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
  return {"key-" + sha256_hex(text).substr(0, 8), std::string(text)};
}

Result<AuthRules> make_auth_rules(const std::vector<std::string>& keys, bool require_on_loopback,
                                  bool allow_unauthenticated, const ListenAddress& listen_addr,
                                  const std::filesystem::path& data_folder) {
  AuthRules rules{.keys = {},
                  .admin_key = {},
                  .require_on_loopback = require_on_loopback,
                  .allow_unauthenticated = allow_unauthenticated};
  if (allow_unauthenticated) {
    log_warn(LogComponent::http, {}, "[auth] allow_unauthenticated: whoever reaches {} may do everything",
             to_string(listen_addr));
    return rules;
  }
  for (const auto& text : keys) {
    if (text.empty())
      return fail({.code = ErrorCode::config_invalid,
                   .attempted = "read",
                   .subject = "[auth] keys",
                   .reason = "a key is empty",
                   .mend = "write each key as \"NAME:KEY\" or \"KEY\""});
    rules.keys.push_back(parse_key(text));
  }
  if (!rules.keys.empty()) return rules;
  const auto path = data_folder / "admin.key";
  auto key = NANOBOX_TRY(read_admin_key(path));
  if (!key && (require_on_loopback || !is_loopback(listen_addr))) {
    key = NANOBOX_TRY(make_admin_key(path));
    log_info(LogComponent::http, {}, "made an admin key: {}", path.string());
  } else if (key) {
    log_info(LogComponent::http, {}, "the admin key is in {}", path.string());
  }
  rules.admin_key = key.value_or(std::string());
  return rules;
}

Authenticator::Authenticator(const AuthRules& rules)
    : loopback_is_free_(rules.keys.empty() && !rules.require_on_loopback), all_are_free_(rules.allow_unauthenticated) {
  const bool has_admin = !rules.admin_key.empty() ||
                         std::ranges::any_of(rules.keys, [](const NamedKey& key) { return key.name == "admin"; });
  for (std::size_t i = 0; i < rules.keys.size(); ++i) {
    const auto& [name, key] = rules.keys[i];
    const Identity identity{.owner = name, .is_admin = name == "admin" || (!has_admin && i == 0), .has_key = true};
    known_.push_back({sha256_hex(key), identity});
    // A key that happens to look like NAME:KEY works as it is written, too.
    known_.push_back({sha256_hex(name + ":" + key), identity});
  }
  if (!rules.admin_key.empty())
    known_.push_back({sha256_hex(rules.admin_key), {.owner = "admin", .is_admin = true, .has_key = true}});
}

const Authenticator::Known* Authenticator::find(std::string_view key) const {
  const auto digest = sha256_hex(trimmed(key));
  const Known* match = nullptr;
  for (const auto& known : known_)
    if (::CRYPTO_memcmp(known.digest.data(), digest.data(), digest.size()) == 0 && match == nullptr) match = &known;
  return match;
}

Result<Identity> Authenticator::identify(const Request& request, bool forwards) const {
  std::optional<std::string> key;
  if (const auto given = request.header("x-nanobox-key"))
    key = *given;
  else if (request.upgrade == "websocket")
    key = key_among_protocols(request);
  if (const auto given = request.header("authorization"); given && !key && !ignores_keys()) {
    const bool is_bearer = lower(given->substr(0, bearer.size())) == bearer;
    const auto* known = is_bearer ? find(given->substr(bearer.size())) : nullptr;
    if (known != nullptr) return known->identity;
    if (!forwards) return unauthorized(is_bearer ? "the key is unknown" : "the Authorization is no Bearer key");
  }
  if (key && !ignores_keys()) {
    const auto* known = find(*key);
    if (known == nullptr) return unauthorized("the key is unknown");
    return known->identity;
  }
  const bool free = all_are_free_ || (loopback_is_free_ && request.peer_is_loopback && !passed_a_proxy(request));
  if (!free) return unauthorized("a key is needed");
  const auto forbidden = [](std::string reason) {
    return fail({.code = ErrorCode::forbidden,
                 .attempted = "check key",
                 .subject = {},
                 .reason = std::move(reason),
                 .mend = "send Authorization: Bearer KEY"});
  };
  if (comes_from_a_page(request) && !(forwards && comes_from_own_page(request)))
    return forbidden("a web page may not use this server without a key");
  if (!all_are_free_) {
    const auto host = host_name(request.header("host").value_or(""));
    if (host != "localhost" && host != "127.0.0.1" && host != "[::1]")
      return forbidden("without a key the Host must be localhost, 127.0.0.1 or [::1]");
  }
  return Identity{.owner = "admin", .is_admin = true, .has_key = false};
}

void Authenticator::remove_keys(Request& request) const {
  std::erase_if(request.headers, [&](const auto& header) {
    const auto& [name, value] = header;
    return name == "x-nanobox-key" || (name == "authorization" && lower(value).starts_with(bearer) &&
                                       find(std::string_view(value).substr(bearer.size())) != nullptr);
  });
  for (auto& [name, value] : request.headers) {
    if (name != "sec-websocket-protocol") continue;
    std::string kept;
    for (const auto item : list_items(value))
      if (!is_protocol_key(item)) kept += (kept.empty() ? "" : ", ") + std::string(item);
    value = std::move(kept);
  }
  std::erase_if(request.headers,
                [](const auto& header) { return header.first == "sec-websocket-protocol" && header.second.empty(); });
}

}  // namespace nanobox::http
