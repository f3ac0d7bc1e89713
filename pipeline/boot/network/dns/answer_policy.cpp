#include "pipeline/boot/network/dns/answer_policy.hpp"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "pipeline/boot/network/dns/address_scope.hpp"

namespace nanobox {

namespace {

constexpr std::string_view kSandboxes = ".nanobox.internal";
// More than any name needs: who answers may be the enemy, and each address costs room in the firewall.
constexpr std::size_t kAddressesMax = 64;
constexpr std::size_t kChainMax = 16;

// Names that mean something here only: an answer from elsewhere would be wrong, and the question tells of us.
constexpr std::string_view kLocalZones[] = {"internal",
                                            "localhost",
                                            "local",
                                            "invalid",
                                            "onion",
                                            "home.arpa",
                                            "0.in-addr.arpa",
                                            "10.in-addr.arpa",
                                            "127.in-addr.arpa",
                                            "254.169.in-addr.arpa",
                                            "168.192.in-addr.arpa",
                                            "d.f.ip6.arpa",
                                            "8.e.f.ip6.arpa",
                                            "9.e.f.ip6.arpa",
                                            "a.e.f.ip6.arpa",
                                            "b.e.f.ip6.arpa"};

bool is_in_zone(std::string_view name, std::string_view zone) {
  return name == zone || (name.ends_with(zone) && name[name.size() - zone.size() - 1] == '.');
}

bool is_reverse_of(std::string_view name, unsigned first, unsigned second_from, unsigned second_to) {
  for (unsigned second = second_from; second <= second_to; ++second)
    if (is_in_zone(name, std::to_string(second) + "." + std::to_string(first) + ".in-addr.arpa")) return true;
  return false;
}

bool is_local_name(std::string_view name) {
  const auto holds = [name](std::string_view zone) { return is_in_zone(name, zone); };
  return std::ranges::any_of(kLocalZones, holds) || is_reverse_of(name, 172, 16, 31) ||
         is_reverse_of(name, 100, 64, 127);
}

bool is_transfer_or_any(DnsType type) {
  return type == DnsType::any || type == DnsType::axfr || type == DnsType::ixfr || type == DnsType::opt;
}

bool is_answered_empty(DnsType type) {
  return type == DnsType::aaaa || type == DnsType::svcb || type == DnsType::https;
}

bool has_list(const DnsClient& client) {
  return client.narrowed || !client.allow_domains.empty();
}

DnsVerdict answer_internal(const DnsClient& client, const DnsQuestion& question, const FindSandbox& find_sandbox) {
  using enum DnsVerdict::Action;
  std::string_view name = question.name;
  if (client.mode != DnsClient::Mode::internal || !name.ends_with(kSandboxes)) return {answer, DnsRcode::name_error};
  name.remove_suffix(kSandboxes.size());
  const auto sandbox = find_sandbox(name);
  if (!sandbox || sandbox->group != client.group) return {answer, DnsRcode::name_error};
  if (question.type != DnsType::a) return {answer, DnsRcode::no_error};
  return {answer, DnsRcode::no_error, sandbox->address};
}

/// How long each name of the chain from `name` holds: the least TTL on the way to it.
std::unordered_map<std::string, std::uint32_t> chain_from(const std::string& name, std::uint32_t ttl_max,
                                                          const std::vector<DnsRecord>& records) {
  std::unordered_map<std::string, std::uint32_t> chain{{name, ttl_max}};
  std::string at = name;
  while (chain.size() <= kChainMax) {
    const auto next = std::ranges::find_if(records, [&](const DnsRecord& record) {
      return record.type == DnsType::cname && record.klass == kDnsClassIn && record.name == at;
    });
    if (next == records.end()) break;
    const auto ttl = std::min(next->ttl, chain.at(at));
    if (!chain.emplace(next->target, ttl).second) break;
    at = next->target;
  }
  return chain;
}

// Some resolvers in guests look neither at a record's class nor at all of its type (musl): what was not asked for may
// look like an address to them.
bool is_wanted(const DnsRecord& record, DnsType asked, bool on_chain) {
  if (record.klass != kDnsClassIn || is_answered_empty(record.type)) return false;
  if (record.type == DnsType::dname || record.type == DnsType::rrsig) return true;
  return on_chain && (record.type == asked || record.type == DnsType::cname);
}

bool is_negative_proof(const DnsRecord& record) {
  return record.klass == kDnsClassIn && (record.type == DnsType::soa || record.type == DnsType::nsec ||
                                         record.type == DnsType::nsec3 || record.type == DnsType::rrsig);
}

void add_allowed(std::vector<AllowedAddress>& allowed, std::uint32_t address, std::chrono::seconds ttl) {
  const auto found = std::ranges::find(allowed, address, &AllowedAddress::address);
  if (found == allowed.end())
    allowed.push_back({address, ttl});
  else
    found->ttl = std::max(found->ttl, ttl);
}

}  // namespace

DnsVerdict decide(const DnsClient& client, const DnsQuestion& question, const FindSandbox& find_sandbox) {
  using enum DnsVerdict::Action;
  using enum DnsClient::Mode;
  if (client.mode == isolated || question.klass != kDnsClassIn || is_transfer_or_any(question.type)) return {};
  if (is_in_zone(question.name, "internal")) return answer_internal(client, question, find_sandbox);
  if (is_local_name(question.name)) return {answer, DnsRcode::name_error};
  const auto matches = [&](const NamePattern& pattern) { return pattern.matches(question.name); };
  if (client.mode == internal || (has_list(client) && std::ranges::none_of(client.allow_domains, matches))) return {};
  if (is_answered_empty(question.type)) return {answer, DnsRcode::no_error};
  return {forward, DnsRcode::no_error};
}

JudgedAnswer judge(const DnsPolicy& policy, const DnsClient& client, const DnsQuestion& question, DnsMessage answer) {
  JudgedAnswer judged;
  for (const auto* section : {&answer.answers, &answer.authority})
    for (const auto& record : *section) {
      const auto ipv4 = record.ipv4();
      const auto ipv6 = record.ipv6();
      if ((ipv4 && !is_public_address(*ipv4, policy.inside)) || (ipv6 && !is_public_address(*ipv6, policy.inside))) {
        judged.rebinding = true;
        return judged;
      }
    }
  const auto ttl_max = static_cast<std::uint32_t>(policy.ttl_max.count());
  for (auto* section : {&answer.answers, &answer.authority})
    for (auto& record : *section) record.ttl = std::min(record.ttl, ttl_max);
  const auto chain = chain_from(question.name, ttl_max, answer.answers);
  for (auto& record : answer.answers) {
    const auto name = chain.find(record.name);
    if (!is_wanted(record, question.type, name != chain.end())) continue;
    if (const auto address = record.ipv4()) {
      if (judged.allowed.size() == kAddressesMax) continue;
      const std::chrono::seconds ttl{std::min(record.ttl, name->second)};
      add_allowed(judged.allowed, *address, std::max(ttl, policy.ttl_min));
    }
    judged.answers.push_back(std::move(record));
  }
  if (!has_list(client)) judged.allowed.clear();
  for (auto& record : answer.authority)
    if (is_negative_proof(record)) judged.authority.push_back(std::move(record));
  return judged;
}

}  // namespace nanobox
