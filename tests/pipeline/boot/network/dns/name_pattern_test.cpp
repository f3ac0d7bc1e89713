#include "pipeline/boot/network/dns/name_pattern.hpp"

#include <catch2/catch.hpp>

using namespace nanobox;

TEST_CASE("a name matches itself only", "[dns]") {
  const auto pattern = NamePattern::parse("Example.COM");
  REQUIRE(pattern);
  CHECK(pattern->text() == "example.com");
  CHECK(pattern->matches("example.com"));
  CHECK_FALSE(pattern->matches("www.example.com"));
  CHECK_FALSE(pattern->matches("badexample.com"));
  CHECK_FALSE(pattern->matches("example.com.evil.net"));
}

TEST_CASE("a wildcard matches every name below, not the name itself", "[dns]") {
  const auto pattern = NamePattern::parse("*.example.com.");
  REQUIRE(pattern);
  CHECK(pattern->text() == "*.example.com");
  CHECK(pattern->matches("www.example.com"));
  CHECK(pattern->matches("a.b.example.com"));
  CHECK_FALSE(pattern->matches("example.com"));
  CHECK_FALSE(pattern->matches(".example.com"));
  CHECK_FALSE(pattern->matches("badexample.com"));
}

TEST_CASE("a dot inside of a label makes no subdomain", "[dns]") {
  CHECK_FALSE(NamePattern::parse("*.example.com")->matches("evil\\046example.com"));
}

TEST_CASE("what is no pattern is refused with its reason", "[dns]") {
  struct Case {
    std::string text, reason, mend;
  };
  const std::string example = "write a name such as example.com, or *.example.com for all names below it";
  const auto cases = {
      Case{"", "it is empty", example},
      Case{".", "it has two dots in a row, or begins with one", example},
      Case{"a..b", "it has two dots in a row, or begins with one", example},
      Case{"*.", "it would allow every name", "leave allow_domains out to allow every name"},
      Case{"*", "it would allow every name", "leave allow_domains out to allow every name"},
      Case{"*example.com", "'*' stands elsewhere than alone at its beginning", example},
      Case{"a.*.com", "'*' stands elsewhere than alone at its beginning", example},
      Case{"*.*.com", "'*' stands elsewhere than alone at its beginning", example},
      Case{"https://example.com/", "it is a URL", "write the URL's host name only"},
      Case{"192.0.2.1", "it is an address", "write addresses in allow_cidrs"},
      Case{"2001:db8::1", "it is an address", "write addresses in allow_cidrs"},
      Case{"10.0.0.0/8", "it contains '/'", "write networks in allow_cidrs"},
      Case{"example.com:443", "it contains ':'", "write it without a port"},
      Case{"bücher.de", "it has letters beyond ASCII", "write the form that begins with xn-- (RFC 5891)"},
      Case{"exam ple.com", "it contains ' '", example},
      Case{"-a.com", "a part between dots begins or ends with '-'", example},
      Case{std::string(64, 'a') + ".com", "a part between dots is longer than 63 bytes", example},
      Case{"sb-1.nanobox.internal", "names below internal are those of sandboxes",
           "sandboxes see those of their group already"},
  };
  for (const auto& one : cases) {
    INFO(one.text);
    const auto pattern = NamePattern::parse(one.text);
    REQUIRE_FALSE(pattern);
    CHECK(pattern.error().code == ErrorCode::invalid_value);
    CHECK(pattern.error().subject == one.text);
    CHECK(pattern.error().reason == one.reason);
    CHECK(pattern.error().mend == one.mend);
  }
}

TEST_CASE("a pattern longer than any name is refused", "[dns]") {
  std::string text;
  for (int i = 0; i < 127; ++i) text += "a.";
  REQUIRE(NamePattern::parse(text));  // 253 bytes and the last dot
  CHECK(NamePattern::parse("a" + text).error().reason == "it is longer than 253 bytes");
}
