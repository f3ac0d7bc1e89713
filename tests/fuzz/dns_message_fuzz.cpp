// What guests ask and upstreams answer: the parser keeps its bounds, and what it read means the same once written.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "pipeline/boot/network/dns/answer_policy.hpp"
#include "pipeline/boot/network/dns/message.hpp"

namespace {

using nanobox::DnsRecord;

bool same(const DnsRecord& one, const DnsRecord& other) {
  return one.name == other.name && one.type == other.type && one.klass == other.klass && one.ttl == other.ttl &&
         one.target == other.target && (one.type == nanobox::DnsType::cname || one.data == other.data);
}

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nanobox;
  const auto message = parse_dns_message(std::as_bytes(std::span(data, size)));
  if (!message) return 0;
  require(message->question.name.size() <= 4 * 255 && message->question.name == dns_lower(message->question.spelling));
  const auto bytes = write_dns_message(*message, SIZE_MAX);
  if (bytes.size() <= kDnsMessageMax) {
    const auto again = parse_dns_message(bytes);
    require(again.has_value());
    require(again->question.spelling == message->question.spelling && again->header.rcode == message->header.rcode);
    require(std::ranges::equal(again->answers, message->answers, same));
    require(std::ranges::equal(again->authority, message->authority, same));
    require(std::ranges::equal(again->additional, message->additional, same));
  }
  const auto small = write_dns_message(*message, 512);
  require(small.size() <= 512 && parse_dns_message(small).has_value());

  DnsClient client{.id = "", .mode = DnsClient::Mode::internet, .group = "", .allow_domains = {}, .narrowed = true};
  const auto judged = judge({}, client, message->question, *message);
  for (const auto& record : judged.answers) require(!record.ipv6());
  require(!judged.rebinding || judged.answers.empty());
  return 0;
}
