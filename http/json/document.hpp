#pragma once

#include <rapidjson/document.h>

#include <string_view>

#include "config/error.hpp"
#include "http/request.hpp"

namespace nanobox::http::json {

/// Parses outside text: valid UTF-8 only, numbers in full precision, nothing after the value, at most 64 levels deep,
/// no key twice in one object. Needs no stack of its own.
/// @errors malformed_json, naming the byte
Result<rapidjson::Document> parse(std::string_view text);

/// The body of a request, which must be an object. An empty body is an empty object.
/// @errors unsupported_media_type: the Content-Type is given and not JSON, or the body is compressed
///         · malformed_json · wrong_type
Result<rapidjson::Document> parse_body(const Request& request);

}  // namespace nanobox::http::json
