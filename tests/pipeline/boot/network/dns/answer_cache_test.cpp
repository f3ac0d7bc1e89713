#include "pipeline/boot/network/dns/answer_cache.hpp"

#include <catch2/catch.hpp>

#include "tests/pipeline/boot/network/dns/wire.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

const AnswerCache::Time start{};

DnsKey key_for(std::string name, std::string group = "blue") {
  return {.group = std::move(group),
          .name = std::move(name),
          .type = DnsType::a,
          .dnssec_ok = false,
          .checking_disabled = false};
}

DnsMessage address_answer(const std::string& name, std::uint32_t ttl) {
  auto answer = dns_reply(query_for(name), DnsRcode::no_error);
  answer.answers.push_back(dns_a_record(name, 0x01010101, ttl));
  return answer;
}

DnsMessage nothing_answer(std::uint32_t soa_ttl, const Bytes& minimum) {
  auto answer = dns_reply(query_for("a.com"), DnsRcode::name_error);
  answer.authority.push_back(
      record_of("com", DnsType::soa, soa_ttl, wire("00 00 00000001 00000002 00000003 00000004") + minimum));
  return answer;
}

}  // namespace

TEST_CASE("an answer is kept until its TTL is over, and grows old", "[dns]") {
  AnswerCache cache(10, 1h, 1min);
  cache.put(key_for("a.com"), address_answer("a.com", 30), start);
  CHECK(cache.find(key_for("a.com"), start)->answers.at(0).ttl == 30);
  CHECK(cache.find(key_for("a.com"), start + 29s)->answers.at(0).ttl == 1);
  CHECK_FALSE(cache.find(key_for("a.com"), start + 30s));
  CHECK(cache.size() == 0);
}

TEST_CASE("the least TTL counts, and none keeps nothing", "[dns]") {
  AnswerCache cache(10, 1h, 1min);
  auto answer = address_answer("a.com", 30);
  answer.answers.push_back(dns_a_record("a.com", 0x01010102, 10));
  cache.put(key_for("a.com"), answer, start);
  CHECK_FALSE(cache.find(key_for("a.com"), start + 10s));
  cache.put(key_for("b.com"), address_answer("b.com", 0), start);
  CHECK_FALSE(cache.find(key_for("b.com"), start));
}

TEST_CASE("another group does not share it", "[dns]") {
  AnswerCache cache(10, 1h, 1min);
  cache.put(key_for("a.com", "blue"), address_answer("a.com", 30), start);
  CHECK_FALSE(cache.find(key_for("a.com", "red"), start));
}

TEST_CASE("that there is nothing is kept as long as the SOA says, within the bound", "[dns]") {
  AnswerCache cache(10, 1h, 1min);
  cache.put(key_for("a.com"), nothing_answer(600, wire("0000000A")), start);
  CHECK(cache.find(key_for("a.com"), start + 9s)->header.rcode == DnsRcode::name_error);
  CHECK_FALSE(cache.find(key_for("a.com"), start + 10s));
  cache.put(key_for("a.com"), nothing_answer(600, wire("00000E10")), start);
  CHECK_FALSE(cache.find(key_for("a.com"), start + 60s));
  cache.put(key_for("a.com"), dns_reply(query_for("a.com"), DnsRcode::name_error), start);
  CHECK_FALSE(cache.find(key_for("a.com"), start));
}

TEST_CASE("failures are not kept, and large answers neither", "[dns]") {
  AnswerCache cache(10, 1h, 1min);
  auto failed = address_answer("a.com", 30);
  failed.header.rcode = DnsRcode::server_failure;
  cache.put(key_for("a.com"), failed, start);
  auto large = address_answer("b.com", 30);
  large.answers.push_back(record_of("b.com", DnsType::txt, 30, Bytes(20000)));
  cache.put(key_for("b.com"), large, start);
  CHECK(cache.size() == 0);
}

TEST_CASE("when it is full the one unused for longest goes", "[dns]") {
  AnswerCache cache(2, 1h, 1min);
  cache.put(key_for("a.com"), address_answer("a.com", 30), start);
  cache.put(key_for("b.com"), address_answer("b.com", 30), start);
  REQUIRE(cache.find(key_for("a.com"), start));
  cache.put(key_for("c.com"), address_answer("c.com", 30), start);
  CHECK(cache.size() == 2);
  CHECK(cache.find(key_for("a.com"), start));
  CHECK_FALSE(cache.find(key_for("b.com"), start));
}

TEST_CASE("a newer answer takes the older one's place", "[dns]") {
  AnswerCache cache(2, 1h, 1min);
  cache.put(key_for("a.com"), address_answer("a.com", 30), start);
  cache.put(key_for("a.com"), address_answer("a.com", 50), start + 5s);
  CHECK(cache.size() == 1);
  CHECK(cache.find(key_for("a.com"), start + 10s)->answers.at(0).ttl == 45);
}
