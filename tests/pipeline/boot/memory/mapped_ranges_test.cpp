#include "pipeline/boot/memory/mapped_ranges.hpp"

#include <catch2/catch.hpp>

using namespace nanobox;
using Catch::Matchers::Contains;

namespace {

constexpr std::uint64_t memory_bytes = 0x100000;

Result<std::uint64_t> find(const std::string& maps) {
  const auto ranges = parse_mapped_ranges(maps);
  if (!ranges) return fail(ranges.error());
  return find_guest_memory(*ranges, 4711, memory_bytes);
}

}  // namespace

TEST_CASE("the guest's memory is found by what is mapped of its file, wherever its neighbours end", "[memory]") {
  const auto found = find(
      "0ff00000-10000000 rw-p 00000000 00:00 0 \n"  // a heap right before it
      "10000000-10001000 rw-p 00000000 00:00 0 \n"
      "10001000-10080000 rw-p 00001000 08:01 4711 /mem\n"
      "10080000-10090000 rw-p 00005000 08:01 99 /layer\n"
      "10090000-10200000 rw-p 00000000 00:00 0 \n");
  REQUIRE(found);
  CHECK(*found == 0x10000000);
}

TEST_CASE("the memory of an empty file is found by its size", "[memory]") {
  const auto found = find(
      "0ff00000-10000000 ---p 00000000 00:00 0 \n"
      "10000000-10100000 rw-p 00000000 00:00 0 \n"
      "10100000-10101000 ---p 00000000 00:00 0 \n"
      "20000000-20000800 rw-p 00000000 00:00 0 \n");
  REQUIRE(found);
  CHECK(*found == 0x10000000);
  // Cut by layers, and with a stack right before it.
  const auto cut = find(
      "0fffe000-10000000 rw-p 00000000 00:00 0 \n"
      "10000000-10010000 rw-p 00003000 08:01 99 /layer\n"
      "10010000-10100000 rw-p 00000000 00:00 0 \n");
  REQUIRE(cut);
  CHECK(*cut == 0x10000000);
}

TEST_CASE("no place, and more than one, are told instead of read", "[memory]") {
  const auto none = find("10000000-10100000 r--p 00000000 00:00 0 \n");
  REQUIRE_FALSE(none);
  CHECK_THAT(none.error().reason, Contains("no private"));
  const auto two = find(
      "10000000-10100000 rw-p 00000000 00:00 0 \n"
      "20000000-20100000 rw-p 00000000 00:00 0 \n");
  REQUIRE_FALSE(two);
  CHECK_THAT(two.error().reason, Contains("several"));
  CHECK_THAT(find("nonsense\n").error().reason, Contains("cannot be read"));
}
