#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <list>
#include <map>
#include <optional>
#include <string>

#include "pipeline/boot/network/dns/message.hpp"

namespace nanobox {

/// What an upstream's answer depends on, and who may share it: another group's members must not learn from times and
/// TTLs what was asked for.
struct DnsKey {
  std::string group;
  std::string name;  ///< lower case
  DnsType type = DnsType::a;
  bool dnssec_ok = false;
  bool checking_disabled = false;
  auto operator<=>(const DnsKey&) const = default;
};

/// Upstreams' answers as they came, before any policy, until the least TTL in them is over; negative ones as RFC 2308
/// section 5 has it. The one unused for longest goes first.
class AnswerCache {
public:
  using Time = std::chrono::steady_clock::time_point;
  AnswerCache(std::size_t entries, std::chrono::seconds ttl_max, std::chrono::seconds negative_ttl_max)
      : entries_(entries), ttl_max_(ttl_max), negative_ttl_max_(negative_ttl_max) {}

  /// Keeps it if it may be kept: NOERROR and NXDOMAIN, not truncated, no more than 16 KiB.
  void put(const DnsKey& key, const DnsMessage& answer, Time now);
  /// With TTLs that are less by its age.
  std::optional<DnsMessage> find(const DnsKey& key, Time now);
  std::size_t size() const { return by_key_.size(); }

private:
  struct Entry {
    DnsKey key;
    DnsMessage answer;
    Time since, until;
  };
  std::chrono::seconds lifetime(const DnsMessage& answer) const;
  void erase(std::list<Entry>::iterator entry);

  std::size_t entries_;
  std::chrono::seconds ttl_max_, negative_ttl_max_;
  std::list<Entry> by_use_;  ///< the last used first
  std::map<DnsKey, std::list<Entry>::iterator> by_key_;
};

}  // namespace nanobox
