#include "http/pagination.hpp"

#include "config/whole_number.hpp"
#include "http/json/text.hpp"

namespace nanobox::http {
namespace {

// Tells our cursors from other text, and this form of them from later ones.
constexpr std::string_view mark = "1:";

tl::unexpected<Error> refuse(std::string pointer, std::string detail) {
  Error error{.code = ErrorCode::invalid_value,
              .attempted = "read query",
              .subject = {},
              .reason = pointer.substr(1) + " " + detail,
              .mend = {}};
  error.fields.push_back({.pointer = std::move(pointer), .detail = std::move(detail)});
  return fail(std::move(error));
}

}  // namespace

Result<Page> read_page(const Request& request) {
  Page page;
  if (const auto text = request.query_parameter("limit")) {
    const auto limit = whole_number<std::size_t>(*text);
    if (!limit || *limit < 1 || *limit > 1000) return refuse("?limit", "must be 1 to 1000");
    page.limit = *limit;
  }
  if (const auto text = request.query_parameter("cursor"); text && !text->empty()) {
    std::string padded(*text);
    for (char& c : padded) c = c == '-' ? '+' : c == '_' ? '/' : c;
    while (padded.size() % 4 != 0) padded += '=';
    const auto plain = json::from_base64(padded);
    if (!plain || !plain->starts_with(mark)) return refuse("?cursor", "is not one that this server gave out");
    page.after = plain->substr(mark.size());
  }
  return page;
}

std::string make_cursor(std::string_view key) {
  auto text = json::to_base64(std::string(mark) + std::string(key));
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

}  // namespace nanobox::http
