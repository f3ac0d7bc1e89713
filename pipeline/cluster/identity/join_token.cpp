#include "pipeline/cluster/identity/join_token.hpp"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "config/sha256.hpp"
#include "pipeline/cluster/identity/openssl_handles.hpp"
#include "pipeline/json_text.hpp"

namespace nanobox {

namespace {

constexpr std::string_view kKind = "join_token";
constexpr std::string_view kPrefix = "nbx1_";
constexpr std::size_t kHexDigits = 64;
// So that who comes a little late hears that it has expired, not that nobody knows it.
constexpr std::chrono::hours kRemembered{24};
constexpr std::size_t kForgottenAtOnce = 500;

bool is_hex(std::string_view text) {
  return text.size() == kHexDigits &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

tl::unexpected<Error> invalid(std::string reason, std::string mend) {
  return fail({.code = ErrorCode::token_invalid,
               .attempted = "use a join token",
               .subject = "",
               .reason = std::move(reason),
               .mend = std::move(mend)});
}

constexpr const char* kMakeAnother = "make another token on the control node";

struct TokenState {
  std::optional<WallTime> expires_at;
  std::optional<WallTime> used_at;
};

std::string to_value(const TokenState& state) {
  rapidjson::StringBuffer text;
  JsonWriter json(text);
  json.StartObject();
  put_time(json, "expires_at", state.expires_at);
  put_time(json, "used_at", state.used_at);
  json.EndObject();
  return {text.GetString(), text.GetSize()};
}

TokenState from_value(const std::string& value) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag>(value.data(), value.size());
  if (document.HasParseError() || !document.IsObject()) return {};
  return {from_rfc3339(text_at(document, "expires_at")), from_rfc3339(text_at(document, "used_at"))};
}

/// A row without a time is none of ours.
bool is_over(const Record& row, WallTime since) {
  const auto state = from_value(row.value);
  return !state.expires_at || *state.expires_at <= since;
}

Result<void> forget_old(RecordStore& store, WallTime now) {
  std::vector<RecordChange> changes;
  for (const auto& row : NANOBOX_TRY(all_records(store, kKind)))
    if (is_over(row, now - kRemembered) && changes.size() < kForgottenAtOnce)
      changes.push_back({.kind = row.kind, .key = row.key, .expect = std::nullopt, .owner = "", .value = std::nullopt});
  NANOBOX_TRY(store.commit(changes));
  return {};
}

RecordChange put_row(std::string key, std::uint64_t expect, std::string value) {
  return {.kind = std::string(kKind), .key = std::move(key), .expect = expect, .owner = "", .value = std::move(value)};
}

}  // namespace

std::string to_string(const JoinToken& token) {
  return std::string(kPrefix) + token.ca_key_digest + "_" + token.secret;
}

Result<JoinToken> parse_join_token(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const auto first = std::min(text.find_first_not_of(space), text.size());
  text = text.substr(first, text.find_last_not_of(space) + 1 - first);
  constexpr const char* mend = "copy the whole of it, from nbx1_ on";
  if (text.empty()) return invalid("there is none", mend);
  if (!text.starts_with(kPrefix)) return invalid("it does not begin with nbx1_", mend);
  text.remove_prefix(kPrefix.size());
  if (text.size() != 2 * kHexDigits + 1)
    return invalid("it has " + std::to_string(text.size() + kPrefix.size()) + " characters in place of " +
                       std::to_string(kPrefix.size() + 2 * kHexDigits + 1),
                   mend);
  const auto digest = text.substr(0, kHexDigits);
  const auto secret = text.substr(kHexDigits + 1);
  if (text[kHexDigits] != '_' || !is_hex(digest) || !is_hex(secret))
    return invalid("there are characters in it that belong in no token", mend);
  return JoinToken{std::string(digest), std::string(secret)};
}

Result<JoinToken> issue_token(RecordStore& store, std::string ca_key_digest, std::chrono::milliseconds lifetime,
                              WallTime now) {
  NANOBOX_TRY(forget_old(store, now));
  std::array<unsigned char, kHexDigits / 2> random{};
  if (::RAND_bytes(random.data(), static_cast<int>(random.size())) != 1)
    return fail(openssl_error("make a join token", ""));
  JoinToken token{.ca_key_digest = std::move(ca_key_digest), .secret = ""};
  for (const auto byte : random) {
    token.secret += "0123456789abcdef"[byte >> 4];
    token.secret += "0123456789abcdef"[byte & 15];
  }
  NANOBOX_TRY(store.commit({put_row(sha256_hex(token.secret), 0, to_value({now + lifetime, std::nullopt}))}));
  return token;
}

Result<RedeemedToken> redeem_token(RecordStore& store, std::string_view secret, WallTime now) {
  // Who shows the secret of a token may hear what became of it.
  const auto used = [] { return invalid("it was used before: each token is for one node", kMakeAnother); };
  auto key = sha256_hex(secret);
  auto row = NANOBOX_TRY(store.get(kKind, key));
  const auto state = row ? from_value(row->value) : TokenState{};
  if (!state.expires_at) return invalid("this cluster does not know it", kMakeAnother);
  if (state.used_at) return used();
  if (now >= *state.expires_at)
    return fail({.code = ErrorCode::token_expired,
                 .attempted = "use a join token",
                 .subject = "",
                 .reason = "it was good until " + to_rfc3339(*state.expires_at),
                 .mend = kMakeAnother});
  const auto version = store.commit({put_row(key, row->version, to_value({state.expires_at, now}))});
  if (!version && version.error().code == ErrorCode::conflict) return used();
  if (!version) return fail(version.error());
  return RedeemedToken{std::move(key), *version, std::move(row->value)};
}

Result<void> return_token(RecordStore& store, const RedeemedToken& token) {
  NANOBOX_TRY(store.commit({put_row(token.key, token.version, token.value)}));
  return {};
}

}  // namespace nanobox
