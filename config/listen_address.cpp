#include "config/listen_address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace nanobox {
namespace {

tl::unexpected<Error> refuse(std::string_view text, std::string reason) {
  return fail({.code = ErrorCode::config_invalid,
               .attempted = "read address",
               .subject = std::string(text),
               .reason = std::move(reason),
               .mend = "write HOST:PORT or [IPV6]:PORT, as 127.0.0.1:8080 or [::1]:8080"});
}

bool is_ipv6(const std::string& host) {
  in6_addr address;
  return ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool is_ipv4(const std::string& host) {
  in_addr address;
  return ::inet_pton(AF_INET, host.c_str(), &address) == 1;
}

bool is_host_name(std::string_view host) {
  if (host.empty() || host.size() > 253 || host.front() == '-' || host.front() == '.') return false;
  const bool digits_only = std::ranges::all_of(host, [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
  return !digits_only && std::ranges::all_of(host, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_';
  });
}

}  // namespace

Result<ListenAddress> parse_listen_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) return refuse(text, "it has no port");
  const auto digits = text.substr(colon + 1);
  ListenAddress address;
  const auto [end, wrong] = std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  if (wrong != std::errc{} || end != digits.data() + digits.size())
    return refuse(text, "'" + std::string(digits) + "' is no port (0 to 65535)");
  auto host = text.substr(0, colon);
  if (host.empty()) {
    address.host = "0.0.0.0";
  } else if (host.front() == '[') {
    if (host.back() != ']') return refuse(text, "the bracket is not closed");
    address.host = host.substr(1, host.size() - 2);
    if (!is_ipv6(address.host)) return refuse(text, "'" + address.host + "' is no IPv6 address");
  } else {
    address.host = host;
    if (host.find(':') != std::string_view::npos) return refuse(text, "an IPv6 address needs brackets");
    if (!is_ipv4(address.host) && !is_host_name(host))
      return refuse(text, "'" + address.host + "' is no host name or IPv4 address");
  }
  return address;
}

std::string to_string(const ListenAddress& address) {
  const bool bracket = address.host.find(':') != std::string::npos;
  return (bracket ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

bool is_loopback(const ListenAddress& address) {
  if (address.host == "localhost") return true;
  in_addr four;
  if (::inet_pton(AF_INET, address.host.c_str(), &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
  in6_addr six;
  return ::inet_pton(AF_INET6, address.host.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

}  // namespace nanobox
