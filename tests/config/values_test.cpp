#include <catch2/catch.hpp>

#include "config/byte_size.hpp"
#include "config/edit_distance.hpp"
#include "config/ipv4_subnet.hpp"
#include "config/listen_address.hpp"

using namespace nanobox;

TEST_CASE("addresses are read and written with their brackets", "[address]") {
  for (const char* text : {"127.0.0.1:8080", "[::1]:8080", "node-3.local:7000", "localhost:0", "[fe80::1]:65535"})
    CHECK(to_string(parse_listen_address(text).value()) == text);
  CHECK(parse_listen_address(":80").value() == ListenAddress{"0.0.0.0", 80});
}

TEST_CASE("what is no address is refused with the forms that are", "[address]") {
  for (const char* text :
       {"", "8080", "host", "host:", "host:65536", "host:-1", "host:8o", "::1:80", "[::1:80", "[::1]80", "[host]:80",
        "1.2.3:80", "999.1.1.1:80", "-a:80", "a b:80", "a/b:80", "host:1 "}) {
    INFO(text);
    const auto address = parse_listen_address(text);
    REQUIRE_FALSE(address);
    CHECK(address.error().code == ErrorCode::config_invalid);
    CHECK_FALSE(address.error().mend.empty());
  }
}

TEST_CASE("loopback is 127.0.0.0/8, ::1 and localhost", "[address]") {
  CHECK(is_loopback({"127.9.9.9", 1}));
  CHECK(is_loopback({"::1", 1}));
  CHECK(is_loopback({"localhost", 1}));
  CHECK_FALSE(is_loopback({"0.0.0.0", 1}));
  CHECK_FALSE(is_loopback({"::", 1}));
  CHECK_FALSE(is_loopback({"128.0.0.1", 1}));
}

TEST_CASE("networks know their addresses", "[subnet]") {
  const auto subnet = parse_subnet("10.100.0.0/16").value();
  CHECK(to_string(subnet) == "10.100.0.0/16");
  CHECK(first_address(subnet) == "10.100.0.1");
  CHECK(subnet.contains(0x0A64FFFF));
  CHECK_FALSE(subnet.contains(0x0A650000));
  for (const char* text :
       {"", "10.0.0.0", "10.0.0.0/", "10.0.0.0/7", "10.0.0.0/31", "10.0.0.0/x", "10.0.0/16", "::/64", "10.0.0.1/16"})
    CHECK_FALSE(parse_subnet(text));
}

TEST_CASE("sizes are read as people write them", "[size]") {
  CHECK(parse_byte_size("4096").value() == 4096);
  CHECK(parse_byte_size("512", 1 << 20).value() == 512ULL << 20);
  CHECK(parse_byte_size("512M").value() == 512ULL << 20);
  CHECK(parse_byte_size("1.5G").value() == 3ULL << 29);
  CHECK(parse_byte_size("2 GiB").value() == 2ULL << 30);
  CHECK(parse_byte_size("1tb").value() == 1ULL << 40);
  CHECK(parse_byte_size("7B", 1 << 20).value() == 7);
  for (const char* text : {"", "M", "-1", "1X", "1MM", "nan", "inf", "1e400", "9000000000G", "1.2.3M", "0x10"}) {
    INFO(text);
    CHECK_FALSE(parse_byte_size(text));
  }
}

TEST_CASE("sizes are written for people", "[size]") {
  CHECK(format_byte_size(0) == "0 B");
  CHECK(format_byte_size(1023) == "1023 B");
  CHECK(format_byte_size(3'565'158) == "3.4 MiB");
  CHECK(format_byte_size(1 << 20) == "1.0 MiB");
  CHECK(format_byte_size((1 << 20) - 1) == "1.0 MiB");
  CHECK(format_byte_size(~0ULL) == "16.0 EiB");
}

TEST_CASE("the nearest word is the one with the fewest mistakes, and none is near nonsense", "[nearest]") {
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("levle", "level") == 1);
  CHECK(nearest("levle", {"format", "level"}) == "level");
  CHECK_FALSE(nearest("zzzzzz", {"format", "level"}));
  CHECK_FALSE(nearest("a", {}));
}
