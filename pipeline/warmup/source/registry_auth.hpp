#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

/// What a WWW-Authenticate header asks for (RFC 9110 11.6.1; distribution's token specification).
struct AuthChallenge {
  enum class Scheme { basic, bearer };
  Scheme scheme = Scheme::basic;
  std::string realm, service, scope;
};

/// The first challenge in `header` that we can meet; Bearer is preferred.
std::optional<AuthChallenge> parse_challenge(std::string_view header);

/// "Basic …" for an Authorization header.
std::string basic_authorization(const Credentials& credentials);

/// The address to fetch a token from.
std::string token_url(const AuthChallenge& challenge, const std::string& default_scope);

/// The token of a token server's JSON answer. @errors registry_failed
Result<std::string> parse_token(std::string_view json);

std::string encode_base64(std::string_view bytes);
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace nanobox
