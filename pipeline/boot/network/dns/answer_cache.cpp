#include "pipeline/boot/network/dns/answer_cache.hpp"

#include <algorithm>

namespace nanobox {

namespace {

constexpr std::size_t kAnswerBytesMax = 16 << 10;

std::size_t bytes_of(const DnsMessage& answer) {
  std::size_t bytes = 0;
  for (const auto* section : {&answer.answers, &answer.authority, &answer.additional})
    for (const auto& record : *section)
      bytes += sizeof record + record.name.size() + record.data.size() + record.target.size();
  return bytes;
}

/// The last field of a SOA, MINIMUM (RFC 1035 section 3.3.13).
std::uint32_t soa_minimum(const DnsRecord& soa) {
  std::uint32_t minimum = 0;
  if (soa.data.size() < 4) return minimum;
  for (const std::byte one : std::span(soa.data).last(4)) minimum = minimum << 8 | std::to_integer<std::uint32_t>(one);
  return minimum;
}

}  // namespace

std::chrono::seconds AnswerCache::lifetime(const DnsMessage& answer) const {
  const bool negative =
      answer.header.rcode == DnsRcode::name_error || std::ranges::none_of(answer.answers, [&](const DnsRecord& record) {
        return record.type == answer.question.type;
      });
  auto least = negative ? negative_ttl_max_ : ttl_max_;
  bool has_soa = false;
  for (const auto* section : {&answer.answers, &answer.authority})
    for (const auto& record : *section) {
      least = std::min(least, std::chrono::seconds{record.ttl});
      if (record.type != DnsType::soa) continue;
      has_soa = true;
      if (negative) least = std::min(least, std::chrono::seconds{soa_minimum(record)});
    }
  // Without a SOA nobody said how long it holds (RFC 2308 section 5).
  return negative && !has_soa ? std::chrono::seconds::zero() : least;
}

void AnswerCache::put(const DnsKey& key, const DnsMessage& answer, Time now) {
  if (const auto old = by_key_.find(key); old != by_key_.end()) erase(old->second);
  const auto ttl = lifetime(answer);
  if (answer.header.truncated || !is_answer(answer.header.rcode) || ttl <= std::chrono::seconds::zero() ||
      bytes_of(answer) > kAnswerBytesMax || entries_ == 0)
    return;
  if (by_key_.size() == entries_) erase(std::prev(by_use_.end()));
  by_use_.push_front({key, answer, now, now + ttl});
  by_key_.emplace(key, by_use_.begin());
}

std::optional<DnsMessage> AnswerCache::find(const DnsKey& key, Time now) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  const auto entry = found->second;
  if (entry->until <= now) {
    erase(entry);
    return std::nullopt;
  }
  by_use_.splice(by_use_.begin(), by_use_, entry);
  const auto age = static_cast<std::uint32_t>(std::chrono::floor<std::chrono::seconds>(now - entry->since).count());
  DnsMessage answer = entry->answer;
  for (auto* section : {&answer.answers, &answer.authority, &answer.additional})
    for (auto& record : *section) record.ttl -= std::min(record.ttl, age);
  return answer;
}

void AnswerCache::erase(std::list<Entry>::iterator entry) {
  by_key_.erase(entry->key);
  by_use_.erase(entry);
}

}  // namespace nanobox
