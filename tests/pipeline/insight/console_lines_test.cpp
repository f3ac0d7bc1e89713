#include "pipeline/insight/console_lines.hpp"

#include <catch2/catch.hpp>

#include "config/utf8.hpp"

using namespace nanobox;

TEST_CASE("a short console is kept as it is, without carriage returns", "[insight]") {
  CHECK(last_console_lines("") == "");
  CHECK(last_console_lines("one\r\ntwo\r\n") == "one\ntwo\n");
  CHECK(last_console_lines("no end of line") == "no end of line");
}

TEST_CASE("a long console is cut at a line", "[insight]") {
  CHECK(last_console_lines("first line\nsecond\nthird\n", 14) == "third\n");
  CHECK(last_console_lines("one endless line", 7) == "ss line");
}

TEST_CASE("what is no UTF-8 becomes valid, and stays within the limit", "[insight]") {
  CHECK(last_console_lines("a\xFFz") == "a\xEF\xBF\xBDz");
  CHECK(last_console_lines(std::string("a\0b", 3)) == "ab");
  const auto noise = last_console_lines(std::string(100'000, '\xFF'));
  CHECK(noise.size() <= kDeathConsoleMax);
  CHECK(is_utf8(noise));
  // A cut in the middle of a character takes the whole of it.
  const auto cut = last_console_lines("xx\xE2\x82\xACy", 3);
  CHECK(cut == "y");
}
