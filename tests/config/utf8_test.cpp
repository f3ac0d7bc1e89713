#include "config/utf8.hpp"

#include <catch2/catch.hpp>

using nanobox::is_utf8;
using nanobox::utf8_before_cut;
using nanobox::Utf8Check;

TEST_CASE("text in pieces is judged as the whole", "[utf8]") {
  const auto [text, valid] = GENERATE(table<std::string, bool>({
      {"", true},
      {"plain", true},
      {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xb3", true},
      {"\xc0\xaf", false},          // overlong
      {"\xed\xa0\x80", false},      // a surrogate
      {"\xf4\x90\x80\x80", false},  // above U+10FFFF
      {"a\xff", false},
      {"cut \xe2\x82", false},
      {"\xe2\x82z", false},
  }));
  CHECK(is_utf8(text) == valid);
  for (std::size_t piece = 1; piece <= 4; ++piece) {
    Utf8Check check;
    for (std::size_t at = 0; at < text.size(); at += piece) check.feed(std::string_view(text).substr(at, piece));
    CHECK(check.valid() == valid);
  }
}

TEST_CASE("a sequence cut at the end is found", "[utf8]") {
  CHECK(utf8_before_cut("") == 0);
  CHECK(utf8_before_cut("abc") == 3);
  CHECK(utf8_before_cut("a\xe2\x82") == 1);
  CHECK(utf8_before_cut("a\xe2\x82\xac") == 4);
  CHECK(utf8_before_cut("\xf0\x9f\x90") == 0);
  CHECK(utf8_before_cut("a\x82\x82\x82\x82") == 5);  // no text at all
}
