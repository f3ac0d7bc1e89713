#include "pipeline/boot/network/dns/message.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/pipeline/boot/network/dns/wire.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

const std::string question_head = "1234 0100 0001 0000 0000 0000 ";
const std::string answer_head = "1234 8180 0001 0001 0000 0000 ";
const std::string question = "03'WWW' 07'example' 03'com' 00 0001 0001 ";  // at 12; "example" at 16

std::string reason_of(const Bytes& bytes) {
  const auto message = parse_dns_message(bytes);
  REQUIRE_FALSE(message);
  CHECK(message.error().code == ErrorCode::malformed_request);
  return message.error().reason;
}

}  // namespace

TEST_CASE("a question is read, and its spelling kept", "[dns]") {
  const auto message = parse_dns_message(wire(question_head + question));
  REQUIRE(message);
  CHECK(message->header.id == 0x1234);
  CHECK_FALSE(message->header.response);
  CHECK(message->header.recursion_desired);
  CHECK(message->question.name == "www.example.com");
  CHECK(message->question.spelling == "WWW.example.com");
  CHECK(message->question.type == DnsType::a);
  CHECK(message->question.klass == kDnsClassIn);
  CHECK_FALSE(message->edns);
}

TEST_CASE("a question is written as it was read", "[dns]") {
  const auto bytes = wire(question_head + question);
  CHECK(write_dns_message(*parse_dns_message(bytes)) == bytes);
}

TEST_CASE("addresses and aliases are read through compressed names", "[dns]") {
  const auto message = parse_dns_message(wire("1234 8180 0001 0003 0000 0000 " + question +
                                              "C00C 0005 0001 0000003C 0006 03'CDN' C010 "  // at 33, its data at 45
                                              "C02D 0001 0001 0000001E 0004 CB007105 "      // 203.0.113.5
                                              "C02D 001C 0001 0000001E 0010 20010DB8000000000000000000000001"));
  REQUIRE(message);
  REQUIRE(message->answers.size() == 3);
  CHECK(message->answers[0].name == "www.example.com");
  CHECK(message->answers[0].target == "cdn.example.com");
  CHECK(message->answers[0].ttl == 60);
  CHECK(message->answers[1].name == "cdn.example.com");
  CHECK(message->answers[1].ipv4() == 0xCB007105);
  CHECK(message->answers[1].ttl == 30);
  REQUIRE(message->answers[2].ipv6());
  CHECK((*message->answers[2].ipv6())[1] == 0x01);
  CHECK_FALSE(message->answers[2].ipv4());
}

TEST_CASE("names inside of data come without compression, so that they mean the same elsewhere", "[dns]") {
  const auto message =
      parse_dns_message(wire(answer_head + question + "C00C 000F 0001 0000003C 0009 000A 04'mail' C010"));
  REQUIRE(message);
  CHECK(message->answers.at(0).data == wire("000A 04'mail' 07'example' 03'com' 00"));
}

TEST_CASE("data of other types are kept byte for byte", "[dns]") {
  const auto message = parse_dns_message(wire(answer_head + question + "C00C 0010 0001 0000003C 0003 02 C00C"));
  REQUIRE(message);
  CHECK(message->answers.at(0).data == wire("02 C00C"));
}

TEST_CASE("bytes that would change a name's parts are written as numbers", "[dns]") {
  const auto bytes = wire(question_head + "0A'a.b' 00 '\\c d' FF '.' 03'com' 00 0001 0001");
  const auto message = parse_dns_message(bytes);
  REQUIRE(message);
  CHECK(message->question.name == "a\\046b\\000\\092c\\032d\\255\\046.com");
  CHECK(write_dns_message(*message) == bytes);
}

TEST_CASE("the root is a dot", "[dns]") {
  const auto bytes = wire(question_head + "00 0002 0001");
  const auto message = parse_dns_message(bytes);
  REQUIRE(message);
  CHECK(message->question.name == ".");
  CHECK(write_dns_message(*message) == bytes);
}

TEST_CASE("EDNS is read and written, its options are not", "[dns]") {
  const auto message = parse_dns_message(
      wire("1234 0100 0001 0000 0000 0001 " + question + "00 0029 1000 00 00 8000 0008 000A 0004 01020304"));
  REQUIRE(message);
  REQUIRE(message->edns);
  CHECK(message->edns->udp_bytes == 4096);
  CHECK(message->edns->dnssec_ok);
  CHECK(message->additional.empty());
  CHECK(write_dns_message(*message) ==
        wire("1234 0100 0001 0000 0000 0001 " + question + "00 0029 1000 00 00 8000 0000"));
}

TEST_CASE("a code beyond 15 is spread over header and OPT record", "[dns]") {
  auto query = query_for("example.com");
  query.edns.emplace();
  const auto bytes = write_dns_message(dns_reply(query, DnsRcode::bad_version));
  CHECK(parse_dns_header(bytes)->rcode == DnsRcode::no_error);
  CHECK(parse_dns_message(bytes)->header.rcode == DnsRcode::bad_version);
}

TEST_CASE("an answer of ours repeats id, question and what was wished", "[dns]") {
  auto query = query_for("Example.com");
  query.header.checking_disabled = true;
  auto reply = dns_reply(query, DnsRcode::no_error);
  reply.answers.push_back(dns_a_record("example.com", 0x0A640005, 1));
  CHECK(write_dns_message(reply) == wire("1234 8190 0001 0001 0000 0000 07'Example' 03'com' 00 0001 0001 "
                                         "C00C 0001 0001 00000001 0004 0A640005"));
}

TEST_CASE("an answer that does not fit goes without records and says so", "[dns]") {
  auto reply = dns_reply(query_for("example.com"), DnsRcode::no_error);
  for (std::uint32_t i = 0; i < 40; ++i) reply.answers.push_back(dns_a_record("example.com", i, 1));
  const auto bytes = write_dns_message(reply, 512);
  const auto read = parse_dns_message(bytes);
  REQUIRE(read);
  CHECK(bytes.size() <= 512);
  CHECK(read->header.truncated);
  CHECK(read->answers.empty());
  CHECK(read->question.name == "example.com");
  CHECK_FALSE(parse_dns_message(write_dns_message(reply))->header.truncated);
}

TEST_CASE("an answer to what has no readable question has a header only", "[dns]") {
  DnsHeader query;
  query.id = 7;
  query.opcode = 4;
  CHECK(dns_error_reply(query, DnsRcode::not_implemented) == wire("0007 A084 0000 0000 0000 0000"));
}

TEST_CASE("names that point at themselves, forward or into the header are refused", "[dns]") {
  for (const auto* pointer : {"C00C", "C00E", "C0FF", "FFFF", "C000", "C00B"}) {
    INFO(pointer);
    CHECK(reason_of(wire(question_head + pointer + "0001 0001")) == "a name's pointer does not point back");
  }
  CHECK(reason_of(wire(answer_head + question + "01'a' C021 0001 0001 00000000 0004 01020304")) ==
        "a name's pointer does not point back");
}

TEST_CASE("a name longer than 255 bytes is refused, also when put together from pieces", "[dns]") {
  const auto label = [](std::size_t length) { return Bytes{std::byte(length)} + Bytes(length, std::byte{'a'}); };
  const auto longest = wire(question_head) + label(63) + label(63) + label(63) + label(61) + wire("00 0001 0001");
  REQUIRE(parse_dns_message(longest));
  CHECK(parse_dns_message(longest)->question.name.size() == 253);
  CHECK(reason_of(wire(question_head) + label(63) + label(63) + label(63) + label(62) + wire("00 0001 0001")) ==
        "a name is longer than 255 bytes");
  const auto head = wire(answer_head) + label(63) + label(63) + label(63) + label(61) + wire("00 0001 0001");
  CHECK(reason_of(head + label(1) + wire("C00C 0001 0001 00000000 0004 01020304")) ==
        "a name is longer than 255 bytes");
}

TEST_CASE("labels of forgotten types are refused", "[dns]") {
  CHECK(reason_of(wire(question_head + "41 0001 0001")) == "a label has a type that nobody uses");
  CHECK(reason_of(wire(question_head + "80 0001 0001")) == "a label has a type that nobody uses");
}

TEST_CASE("a message cut anywhere is refused", "[dns]") {
  const auto whole = wire("1234 8180 0001 0001 0000 0001 " + question +
                          "C00C 0005 0001 0000003C 0006 03'cdn' C010 00 0029 1000 00000000 0000");
  REQUIRE(parse_dns_message(whole));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    INFO(length);
    CHECK_FALSE(parse_dns_message(std::span(whole).first(length)));
  }
}

TEST_CASE("data may not reach beyond their record, nor end before it", "[dns]") {
  CHECK(reason_of(wire(answer_head + question + "C00C 0005 0001 0000003C 0003 03'cdn' 00")) == "a name is cut off");
  CHECK(reason_of(wire(answer_head + question + "C00C 0005 0001 0000003C 0006 03'cdn' 00 00")) ==
        "a record is longer than its type");
  CHECK(reason_of(wire(answer_head + question + "C00C 0001 0001 0000003C 0003 010203")) ==
        "an address has a wrong length");
}

TEST_CASE("no question, two questions, two OPT records or one among the answers are refused", "[dns]") {
  CHECK(reason_of(wire("1234 0100 0000 0000 0000 0000")) == "it has 0 questions");
  CHECK(reason_of(wire("1234 0100 0002 0000 0000 0000 " + question + question)) == "it has 2 questions");
  const std::string opt = "00 0029 1000 00000000 0000 ";
  CHECK(reason_of(wire("1234 0100 0001 0000 0000 0002 " + question + opt + opt)) == "it has two OPT records");
  CHECK(reason_of(wire(answer_head + question + opt)) == "an OPT record is among the answers");
  CHECK(reason_of(wire("1234 0100 0001 0000 0000 0001 " + question + "C00C 0029 1000 00000000 0000")) ==
        "its OPT record has a name");
}

TEST_CASE("a TTL with its first bit set is none", "[dns]") {
  const auto message = parse_dns_message(wire(answer_head + question + "C00C 0001 0001 80000001 0004 01020304"));
  REQUIRE(message);
  CHECK(message->answers.at(0).ttl == 0);
}

TEST_CASE("what was fuzzed is read as before", "[dns]") {
  for (const auto& file : std::filesystem::directory_iterator(DNS_CORPUS)) {
    INFO(file.path());
    std::ifstream in(file.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto message = parse_dns_message(std::as_bytes(std::span(text)));
    CHECK(message.has_value() == !file.path().filename().string().starts_with("bad"));
  }
}
