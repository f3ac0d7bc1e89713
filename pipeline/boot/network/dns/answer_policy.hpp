#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "config/ipv4_subnet.hpp"
#include "pipeline/boot/network/dns/client.hpp"
#include "pipeline/boot/network/dns/message.hpp"

namespace nanobox {

struct DnsPolicy {
  /// An address is allowed at least this long, so that who was told it has time to connect.
  std::chrono::seconds ttl_min{5};
  /// Answers and allowances hold no longer.
  std::chrono::seconds ttl_max{86'400};
  std::vector<Ipv4Subnet> inside;  ///< our own networks: no public name has an address there
};

/// Sandboxes of mode `internal` by id; nothing for others.
using FindSandbox = std::function<std::optional<NamedSandbox>(std::string_view id)>;

/// What is done with a question. Pure; the order of the cases is that of the rules.
struct DnsVerdict {
  enum class Action : std::uint8_t { answer, refuse, forward };
  Action action = Action::refuse;
  DnsRcode rcode = DnsRcode::refused;         ///< of `answer`: no_error or name_error
  std::optional<std::uint32_t> address = {};  ///< of `answer`
};

/// - Isolated clients, other classes than IN, zone transfers and ANY (RFC 8482): refused.
/// - `ID.nanobox.internal`: the sandbox's address where client and sandbox are internal and of one group. Other names
///   below `internal`, and names that mean this host or network (RFC 6761, 6762, 6303, 8375): NXDOMAIN.
/// - Internal clients get no other names, and who has an allow list only those on it: a forwarded question would carry
///   data out.
/// - AAAA is empty while guests have no IPv6. SVCB and HTTPS (RFC 9460) are empty too: they carry addresses as hints,
///   and who gets none asks for A.
DnsVerdict decide(const DnsClient& client, const DnsQuestion& question, const FindSandbox& find_sandbox);

/// What of an upstream's answer may go to a client.
struct JudgedAnswer {
  bool rebinding = false;            ///< nothing of it may: an address in it is not public
  std::vector<DnsRecord> answers;    ///< A records off the chain of CNAMEs from the question are left out
  std::vector<DnsRecord> authority;  ///< SOA, and what proves it: for negative caching
  /// Each address of `answers` once, with the least TTL on the way to it; none for a client without an allow list.
  std::vector<AllowedAddress> allowed;
};

/// @param answer  to `question`, which `decide` wanted forwarded
JudgedAnswer judge(const DnsPolicy& policy, const DnsClient& client, const DnsQuestion& question, DnsMessage answer);

}  // namespace nanobox
