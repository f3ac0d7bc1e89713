#include "http/request.hpp"

#include <algorithm>
#include <set>

namespace nanobox::http {
namespace {

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

bool same_ignoring_case(std::string_view left, std::string_view right) {
  return std::ranges::equal(left, right, [](char a, char b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return lower(a) == lower(b);
  });
}

}  // namespace

std::string_view to_string(Method method) {
  switch (method) {
    case Method::get:
      return "GET";
    case Method::head:
      return "HEAD";
    case Method::post:
      return "POST";
    case Method::put:
      return "PUT";
    case Method::patch:
      return "PATCH";
    case Method::del:
      return "DELETE";
    case Method::options:
      return "OPTIONS";
  }
  return "";
}

std::optional<std::string_view> Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return std::nullopt;
}

std::optional<std::string_view> Request::query_parameter(std::string_view name) const {
  for (const auto& [key, value] : query_parameters)
    if (key == name) return value;
  return std::nullopt;
}

std::string_view Request::param(std::string_view name) const {
  const auto found = params.find(name);
  return found == params.end() ? std::string_view() : std::string_view(found->second);
}

bool Request::accepts(std::string_view media_type) const {
  for (const auto& [key, value] : headers) {
    if (key != "accept") continue;
    for (std::string_view rest = value; !rest.empty();) {
      const auto comma = rest.find(',');
      const auto entry = rest.substr(0, comma);
      if (same_ignoring_case(trim(entry.substr(0, entry.find(';'))), media_type)) return true;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

Result<void> check_query(const Request& request, std::initializer_list<std::string_view> known) {
  std::set<std::string_view> seen;
  for (const auto& [name, value] : request.query_parameters) {
    const bool is_known = std::ranges::find(known, std::string_view(name)) != known.end();
    if (is_known && seen.insert(name).second) continue;
    Error error{
        .code = is_known ? ErrorCode::invalid_value : ErrorCode::unknown_field,
        .attempted = "read query",
        .subject = {},
        .reason = is_known ? "'" + name + "' is given twice" : "there is no query parameter '" + name + "' here",
        .mend = {}};
    error.fields.push_back({.pointer = "?" + name, .detail = is_known ? "is given twice" : "is unknown"});
    if (!is_known && known.size() > 0) {
      error.mend = "known are";
      for (const auto& each : known) error.mend += " '" + std::string(each) + "'";
    }
    return fail(std::move(error));
  }
  return {};
}

}  // namespace nanobox::http
