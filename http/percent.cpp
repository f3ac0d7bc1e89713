#include "http/percent.hpp"

namespace nanobox::http {
namespace {

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Result<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      result += ' ';
    } else if (text[i] != '%') {
      result += text[i];
    } else {
      const int high = i + 2 < text.size() ? digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? digit(text[i + 2]) : -1;
      if (high < 0 || low < 0 || (high == 0 && low == 0))
        return fail({.code = ErrorCode::malformed_request,
                     .attempted = "decode",
                     .subject = std::string(text),
                     .reason = "'" + std::string(text.substr(i, 3)) + "' is no usable percent escape",
                     .mend = "write a literal % as %25"});
      result += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return result;
}

Result<std::vector<std::pair<std::string, std::string>>> decode_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> result;
  while (!query.empty()) {
    const auto end = query.find('&');
    const auto part = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    if (part.empty()) continue;
    const auto equals = part.find('=');
    auto name = NANOBOX_TRY(percent_decode(part.substr(0, equals), true));
    auto value =
        equals == std::string_view::npos ? std::string() : NANOBOX_TRY(percent_decode(part.substr(equals + 1), true));
    result.emplace_back(std::move(name), std::move(value));
  }
  return result;
}

}  // namespace nanobox::http
