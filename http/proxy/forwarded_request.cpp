#include "http/proxy/forwarded_request.hpp"

#include <algorithm>

#include "http/transport/header_list.hpp"
#include "http/transport/response_head.hpp"

namespace nanobox::http::proxy {
namespace {

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  out += value;
  out += "\r\n";
}

bool is_ours(std::string_view name) {
  static constexpr std::string_view names[] = {
      "content-length", "expect", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix"};
  return std::ranges::find(names, name) != std::end(names);
}

}  // namespace

std::string forwarded_target(const Request& request, std::string_view rest) {
  std::string target = "/";
  target += rest;
  if (!request.query.empty()) target += "?" + request.query;
  return target;
}

std::string write_forwarded_head(const Request& request, const Forwarding& forwarding) {
  std::string out(to_string(request.method));
  out += " " + forwarding.target + " HTTP/1.1\r\n";
  const auto& hop = request.connection_options;
  const bool has_host = request.header("host").has_value();
  if (!has_host) append_header(out, "host", "localhost");  // only HTTP/1.0 may leave it out
  for (const auto& [name, value] : request.headers)
    if (!is_ours(name) && (name == "host" || std::ranges::find(hop, name) == hop.end()))
      append_header(out, name, value);
  if (request.upgrade.empty()) {
    append_header(out, "connection", "close");
  } else {
    append_header(out, "connection", "Upgrade");
    append_header(out, "upgrade", request.upgrade);
  }
  if (!forwarding.body_length)
    append_header(out, "transfer-encoding", "chunked");
  else if (*forwarding.body_length > 0 || request.header("content-length"))
    append_header(out, "content-length", std::to_string(*forwarding.body_length));

  const auto given = [&](std::string_view name) { return std::string(request.header(name).value_or("")); };
  auto clients = given("x-forwarded-for");
  if (!request.peer_address.empty()) clients += (clients.empty() ? "" : ", ") + request.peer_address;
  if (!clients.empty()) append_header(out, "x-forwarded-for", clients);
  const auto host = given("x-forwarded-host");
  if (!host.empty() || has_host) append_header(out, "x-forwarded-host", host.empty() ? given("host") : host);
  const auto scheme = given("x-forwarded-proto");
  append_header(out, "x-forwarded-proto", scheme.empty() ? "http" : scheme);
  append_header(out, "x-forwarded-prefix", given("x-forwarded-prefix") + forwarding.prefix);
  return out + "\r\n";
}

std::string write_forwarded_body(std::string_view bytes, bool chunked) {
  if (bytes.empty()) return {};
  return chunked ? transport::write_chunk(bytes) : std::string(bytes);
}

std::string_view forwarded_body_end(bool chunked) {
  return chunked ? "0\r\n\r\n" : "";
}

}  // namespace nanobox::http::proxy
