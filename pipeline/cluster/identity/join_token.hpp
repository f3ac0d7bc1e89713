#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "config/clock.hpp"
#include "config/error.hpp"
#include "pipeline/store/record_store.hpp"

namespace nanobox {

/// What lets one node join: whom it may trust, and a secret that shows it may come. Its text is
/// "nbx1_<64 hex>_<64 hex>".
struct JoinToken {
  std::string ca_key_digest;  ///< `CertificateAuthority::key_digest`
  std::string secret;         ///< 256 random bits in hex
  bool operator==(const JoinToken&) const = default;
};

std::string to_string(const JoinToken& token);
/// Takes white space around it. @errors token_invalid, which never repeats the text: it may be a secret
Result<JoinToken> parse_join_token(std::string_view text);

/// Makes a token for one node and keeps the SHA-256 of its secret until `lifetime` is over; forgets those that ended
/// more than a day ago. @errors those of the store
Result<JoinToken> issue_token(RecordStore& store, std::string ca_key_digest, std::chrono::milliseconds lifetime,
                              WallTime now);

/// A token that was redeemed, to give it back where nothing came of it.
struct RedeemedToken {
  std::string key;
  std::uint64_t version = 0;
  std::string value;  ///< before it was redeemed
};

/// Uses the token up: of several at once, one succeeds.
/// @errors token_invalid: unknown, or used before · token_expired · store_failed
Result<RedeemedToken> redeem_token(RecordStore& store, std::string_view secret, WallTime now);
/// Makes it good for its one use again. @errors store_failed
Result<void> return_token(RecordStore& store, const RedeemedToken& token);

}  // namespace nanobox
