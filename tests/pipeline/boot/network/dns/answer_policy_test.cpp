#include "pipeline/boot/network/dns/answer_policy.hpp"

#include <arpa/inet.h>

#include <catch2/catch.hpp>

#include "pipeline/boot/network/dns/address_scope.hpp"
#include "tests/pipeline/boot/network/dns/wire.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;
using Action = DnsVerdict::Action;

namespace {

constexpr std::uint32_t public_one = 0xCB007105, public_two = 0xCB007106;

DnsClient client_of(DnsClient::Mode mode) {
  return {.id = "sb-1", .mode = mode, .group = "blue", .allow_domains = {}, .narrowed = false};
}

DnsClient client_with_list(std::initializer_list<std::string_view> patterns) {
  auto client = client_of(DnsClient::Mode::internet);
  client.narrowed = true;
  for (const auto pattern : patterns) client.allow_domains.push_back(*NamePattern::parse(pattern));
  return client;
}

std::optional<NamedSandbox> sandboxes(std::string_view id) {
  if (id == "sb-2") return NamedSandbox{.address = 0x0A640002, .group = "blue"};
  if (id == "sb-3") return NamedSandbox{.address = 0x0A640003, .group = "red"};
  return std::nullopt;
}

DnsVerdict decide_for(const DnsClient& client, std::string name, DnsType type = DnsType::a) {
  return decide(client, query_for(std::move(name), type).question, sandboxes);
}

DnsMessage answer_to(const DnsMessage& query, std::vector<DnsRecord> records) {
  auto answer = dns_reply(query, DnsRcode::no_error);
  answer.answers = std::move(records);
  return answer;
}

JudgedAnswer judge_records(const DnsClient& client, std::vector<DnsRecord> records) {
  const auto query = query_for("www.example.com");
  return judge({}, client, query.question, answer_to(query, std::move(records)));
}

bool is_public6(const char* text) {
  std::array<std::uint8_t, 16> address;
  REQUIRE(::inet_pton(AF_INET6, text, address.data()) == 1);
  return is_public_address(address, {});
}

bool is_public4(const char* text) {
  in_addr address;
  REQUIRE(::inet_pton(AF_INET, text, &address) == 1);
  return is_public_address(ntohl(address.s_addr), {});
}

}  // namespace

TEST_CASE("a sandbox of the same group has an address", "[dns]") {
  const auto verdict = decide_for(client_of(DnsClient::Mode::internal), "SB-2.nanobox.Internal");
  CHECK(verdict.action == Action::answer);
  CHECK(verdict.rcode == DnsRcode::no_error);
  CHECK(verdict.address == 0x0A640002);
}

TEST_CASE("a sandbox has no IPv6 address, but exists", "[dns]") {
  const auto verdict = decide_for(client_of(DnsClient::Mode::internal), "sb-2.nanobox.internal", DnsType::aaaa);
  CHECK(verdict.action == Action::answer);
  CHECK(verdict.rcode == DnsRcode::no_error);
  CHECK_FALSE(verdict.address);
}

TEST_CASE("another group's sandbox and one that never was look the same", "[dns]") {
  for (const auto* name : {"sb-3.nanobox.internal", "sb-9.nanobox.internal", "nanobox.internal", "internal",
                           "a.sb-2.nanobox.internal", "sb-2.other.internal", "sb-2.xnanobox.internal"}) {
    INFO(name);
    const auto verdict = decide_for(client_of(DnsClient::Mode::internal), name);
    CHECK(verdict.action == Action::answer);
    CHECK(verdict.rcode == DnsRcode::name_error);
    CHECK_FALSE(verdict.address);
  }
}

TEST_CASE("who cannot reach sandboxes does not learn of them", "[dns]") {
  const auto verdict = decide_for(client_of(DnsClient::Mode::internet), "sb-2.nanobox.internal");
  CHECK(verdict.action == Action::answer);
  CHECK(verdict.rcode == DnsRcode::name_error);
}

TEST_CASE("an isolated client is told nothing", "[dns]") {
  for (const auto* name : {"sb-2.nanobox.internal", "example.com"})
    CHECK(decide_for(client_of(DnsClient::Mode::isolated), name).action == Action::refuse);
}

TEST_CASE("an internal client's questions go nowhere", "[dns]") {
  CHECK(decide_for(client_of(DnsClient::Mode::internal), "secret.evil.com").action == Action::refuse);
}

TEST_CASE("names of this host and network are not asked for", "[dns]") {
  for (const auto* name : {"localhost", "a.localhost", "printer.local", "1.0.100.10.in-addr.arpa",
                           "1.1.31.172.in-addr.arpa", "1.1.64.100.in-addr.arpa", "1.0.0.0.d.f.ip6.arpa"}) {
    INFO(name);
    const auto verdict = decide_for(client_of(DnsClient::Mode::internet), name, DnsType::ptr);
    CHECK(verdict.action == Action::answer);
    CHECK(verdict.rcode == DnsRcode::name_error);
  }
  for (const auto* name : {"notlocalhost", "1.1.32.172.in-addr.arpa", "8.8.8.8.in-addr.arpa"})
    CHECK(decide_for(client_of(DnsClient::Mode::internet), name, DnsType::ptr).action == Action::forward);
}

TEST_CASE("without an allow list every name is asked for", "[dns]") {
  for (const auto type : {DnsType::a, DnsType::mx, DnsType::txt, DnsType::srv})
    CHECK(decide_for(client_of(DnsClient::Mode::internet), "example.com", type).action == Action::forward);
}

TEST_CASE("with an allow list only its names are asked for, whatever the type", "[dns]") {
  const auto client = client_with_list({"example.com", "*.example.org"});
  CHECK(decide_for(client, "EXAMPLE.com").action == Action::forward);
  CHECK(decide_for(client, "a.example.org").action == Action::forward);
  for (const auto type : {DnsType::a, DnsType::aaaa, DnsType::txt, DnsType::https}) {
    CHECK(decide_for(client, "www.example.com", type).action == Action::refuse);
    CHECK(decide_for(client, "example.org", type).action == Action::refuse);
  }
}

TEST_CASE("with allowed networks only no name is asked for", "[dns]") {
  CHECK(decide_for(client_with_list({}), "example.com").action == Action::refuse);
}

TEST_CASE("types that carry IPv6 addresses or hints are empty", "[dns]") {
  for (const auto type : {DnsType::aaaa, DnsType::https, DnsType::svcb}) {
    const auto verdict = decide_for(client_of(DnsClient::Mode::internet), "example.com", type);
    CHECK(verdict.action == Action::answer);
    CHECK(verdict.rcode == DnsRcode::no_error);
    CHECK_FALSE(verdict.address);
  }
}

TEST_CASE("transfers, ANY and other classes are refused", "[dns]") {
  const auto client = client_of(DnsClient::Mode::internet);
  for (const auto type : {DnsType::any, DnsType::axfr, DnsType::ixfr})
    CHECK(decide_for(client, "example.com", type).action == Action::refuse);
  auto question = query_for("version.bind", DnsType::txt).question;
  question.klass = 3;
  CHECK(decide(client, question, sandboxes).action == Action::refuse);
}

TEST_CASE("addresses that are no public name's", "[dns]") {
  for (const auto* text : {"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1",
                           "127.255.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.168.1.1",
                           "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"}) {
    INFO(text);
    CHECK_FALSE(is_public4(text));
  }
  for (const auto* text : {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.0.1",
                           "172.32.0.1", "192.0.1.1", "192.167.1.1", "223.255.255.255"}) {
    INFO(text);
    CHECK(is_public4(text));
  }
  for (const auto* text :
       {"::", "::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1", "64:ff9b::10.0.0.1",
        "64:ff9b:1::8.8.8.8", "2002:a00:1::1", "fc00::1", "fd00::1", "fe80::1", "fec0::1", "ff02::1"}) {
    INFO(text);
    CHECK_FALSE(is_public6(text));
  }
  for (const auto* text : {"2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1"}) {
    INFO(text);
    CHECK(is_public6(text));
  }
}

TEST_CASE("our own network is no public name's, wherever it is", "[dns]") {
  const Ipv4Subnet own[] = {{0xCB007100, 24}};
  CHECK_FALSE(is_public_address(public_one, own));
  CHECK(is_public_address(0xCB007205, own));
}

TEST_CASE("an answer passes and allows its addresses for their time", "[dns]") {
  const auto judged = judge_records(
      client_with_list({"www.example.com"}),
      {dns_a_record("www.example.com", public_one, 300), dns_a_record("www.example.com", public_two, 60)});
  CHECK_FALSE(judged.rebinding);
  CHECK(judged.answers.size() == 2);
  CHECK(judged.allowed == std::vector<AllowedAddress>{{public_one, 300s}, {public_two, 60s}});
}

TEST_CASE("without an allow list there is nothing to allow", "[dns]") {
  const auto judged =
      judge_records(client_of(DnsClient::Mode::internet), {dns_a_record("www.example.com", public_one, 300)});
  CHECK(judged.answers.size() == 1);
  CHECK(judged.allowed.empty());
}

TEST_CASE("an address is allowed long enough to connect, and not for ever", "[dns]") {
  const auto judged = judge_records(
      client_with_list({"www.example.com"}),
      {dns_a_record("www.example.com", public_one, 0), dns_a_record("www.example.com", public_two, 0x7FFFFFFF)});
  CHECK(judged.allowed == std::vector<AllowedAddress>{{public_one, 5s}, {public_two, 86'400s}});
  CHECK(judged.answers.at(0).ttl == 0);
  CHECK(judged.answers.at(1).ttl == 86'400);
}

TEST_CASE("an address holds as long as the shortest alias before it", "[dns]") {
  const auto judged =
      judge_records(client_with_list({"www.example.com"}),
                    {dns_a_record("edge.cdn.net", public_one, 300), cname("www.example.com", "a.cdn.net", 3600),
                     cname("a.cdn.net", "edge.cdn.net", 20)});
  CHECK(judged.answers.size() == 3);
  CHECK(judged.allowed == std::vector<AllowedAddress>{{public_one, 20s}});
}

TEST_CASE("addresses of names that were not asked for are left out", "[dns]") {
  const auto judged =
      judge_records(client_with_list({"www.example.com"}),
                    {dns_a_record("www.example.com", public_one, 60), dns_a_record("other.example.com", public_two, 60),
                     cname("x.com", "y.com", 60), dns_a_record("y.com", public_two, 60)});
  CHECK(judged.allowed == std::vector<AllowedAddress>{{public_one, 60s}});
  REQUIRE(judged.answers.size() == 1);
  CHECK(judged.answers[0].ipv4() == public_one);
}

TEST_CASE("aliases in a circle end", "[dns]") {
  const auto judged = judge_records(client_with_list({"www.example.com"}),
                                    {cname("www.example.com", "a.com", 60), cname("a.com", "www.example.com", 60),
                                     dns_a_record("a.com", public_one, 60)});
  CHECK(judged.allowed == std::vector<AllowedAddress>{{public_one, 60s}});
}

TEST_CASE("one address that is not public drops the answer, also behind aliases", "[dns]") {
  const auto client = client_with_list({"www.example.com"});
  const auto private_one = dns_a_record("www.example.com", 0x0A000001, 60);
  auto mapped = record_of("www.example.com", DnsType::aaaa, 60, wire("00000000000000000000FFFF7F000001"));
  for (const auto& records : {std::vector{private_one},
                              {dns_a_record("www.example.com", public_one, 60), private_one},
                              {cname("www.example.com", "a.com", 60), dns_a_record("a.com", 0xA9FEA9FE, 60)},
                              {dns_a_record("elsewhere.com", 0x7F000001, 60)},
                              {dns_a_record("www.example.com", public_one, 60), mapped}}) {
    const auto judged = judge_records(client, records);
    CHECK(judged.rebinding);
    CHECK(judged.answers.empty());
    CHECK(judged.allowed.empty());
  }
}

TEST_CASE("IPv6 addresses and hints do not come along with other records", "[dns]") {
  const auto judged =
      judge_records(client_of(DnsClient::Mode::internet),
                    {dns_a_record("www.example.com", public_one, 60),
                     record_of("www.example.com", DnsType::aaaa, 60, wire("26064700000000000000000000001111")),
                     record_of("www.example.com", DnsType::https, 60, wire("0001 00"))});
  REQUIRE(judged.answers.size() == 1);
  CHECK(judged.answers[0].ipv4() == public_one);
}

TEST_CASE("what was not asked for and may look like an address to a guest is left out", "[dns]") {
  auto chaos = dns_a_record("www.example.com", 0x0A000001, 60);
  chaos.klass = 3;
  const auto certificate_authority = record_of("www.example.com", static_cast<DnsType>(257), 60, wire("0A000001"));
  const auto signature = record_of("www.example.com", DnsType::rrsig, 60, wire("0001"));
  const auto judged =
      judge_records(client_of(DnsClient::Mode::internet),
                    {chaos, certificate_authority, signature, dns_a_record("www.example.com", public_one, 60)});
  REQUIRE(judged.answers.size() == 2);
  CHECK(judged.answers[0].type == DnsType::rrsig);
  CHECK(judged.answers[1].ipv4() == public_one);
}

TEST_CASE("addresses come with a question for addresses only", "[dns]") {
  const auto query = query_for("www.example.com", DnsType::mx);
  const auto judged = judge({}, client_with_list({"www.example.com"}), query.question,
                            answer_to(query, {record_of("www.example.com", DnsType::mx, 60, wire("0001 00")),
                                              dns_a_record("www.example.com", public_one, 60)}));
  REQUIRE(judged.answers.size() == 1);
  CHECK(judged.answers[0].type == DnsType::mx);
  CHECK(judged.allowed.empty());
}

TEST_CASE("an answer with more addresses than a name needs is cut", "[dns]") {
  std::vector<DnsRecord> records;
  for (std::uint32_t i = 0; i < 100; ++i) records.push_back(dns_a_record("www.example.com", 0x01000000 + i, 60));
  const auto judged = judge_records(client_with_list({"www.example.com"}), records);
  CHECK(judged.answers.size() == 64);
  CHECK(judged.allowed.size() == 64);
}

TEST_CASE("of the authority the SOA stays, for who caches that there is nothing", "[dns]") {
  const auto query = query_for("www.example.com");
  auto answer = dns_reply(query, DnsRcode::name_error);
  answer.authority = {
      record_of("example.com", DnsType::soa, 60, wire("00 00 00000001 00000002 00000003 00000004 0000003C")),
      record_of("example.com", DnsType::ns, 60, wire("00"))};
  const auto judged = judge({}, client_of(DnsClient::Mode::internet), query.question, answer);
  REQUIRE(judged.authority.size() == 1);
  CHECK(judged.authority[0].type == DnsType::soa);
}
