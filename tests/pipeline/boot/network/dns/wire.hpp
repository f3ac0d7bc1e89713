#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/boot/network/dns/message.hpp"

/// DNS messages written by hand.
namespace nanobox::test {

using Bytes = std::vector<std::byte>;

inline Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

/// From "12 34 ab"; everything else in quotes is text: "03 'com' 00".
inline Bytes wire(std::string_view form) {
  Bytes bytes;
  bool quoted = false;
  std::string digits;
  for (const char one : form) {
    if (one == '\'') {
      quoted = !quoted;
    } else if (quoted) {
      bytes.push_back(static_cast<std::byte>(one));
    } else if (one != ' ' && one != '\n') {
      digits += one;
      if (digits.size() < 2) continue;
      bytes.push_back(static_cast<std::byte>(std::stoul(digits, nullptr, 16)));
      digits.clear();
    }
  }
  return bytes;
}

inline DnsMessage query_for(std::string name, DnsType type = DnsType::a) {
  DnsMessage query;
  query.header.id = 0x1234;
  query.header.recursion_desired = true;
  query.question = {.name = dns_lower(name), .spelling = std::move(name), .type = type, .klass = kDnsClassIn};
  return query;
}

inline DnsRecord cname(std::string name, std::string target, std::uint32_t ttl) {
  DnsRecord record{.name = std::move(name),
                   .type = DnsType::cname,
                   .klass = kDnsClassIn,
                   .ttl = ttl,
                   .data = {},
                   .target = std::move(target)};
  return record;
}

inline DnsRecord record_of(std::string name, DnsType type, std::uint32_t ttl, Bytes data) {
  return {
      .name = std::move(name), .type = type, .klass = kDnsClassIn, .ttl = ttl, .data = std::move(data), .target = {}};
}

}  // namespace nanobox::test
