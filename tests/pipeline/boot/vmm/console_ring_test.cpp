#include "pipeline/boot/vmm/console_ring.hpp"

#include <catch2/catch.hpp>

using namespace nanobox;

namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

}  // namespace

TEST_CASE("a console keeps its last bytes only", "[console]") {
  ConsoleRing ring(8);
  ring.append(bytes("abc"));
  CHECK(ring.tail(100) == "abc");
  ring.append(bytes("defgh"));
  CHECK(ring.tail(100) == "abcdefgh");
  ring.append(bytes("ij"));
  CHECK(ring.tail(100) == "cdefghij");
  CHECK(ring.tail(3) == "hij");
  ring.append(bytes("0123456789"));
  CHECK(ring.tail(100) == "23456789");
  CHECK(ring.size() == 8);
}

TEST_CASE("a console is read on from where a reader was", "[console]") {
  using Piece = std::pair<std::string, std::uint64_t>;
  ConsoleRing ring(8);
  CHECK(ring.since(0, 10) == Piece{"", 0});
  ring.append(bytes("abcdef"));
  CHECK(ring.since(0, 4) == Piece{"abcd", 4});
  CHECK(ring.since(4, 10) == Piece{"ef", 6});
  ring.append(bytes("ghijkl"));
  CHECK(ring.since(6, 10) == Piece{"ghijkl", 12});
  CHECK(ring.since(0, 10) == Piece{"efghijkl", 12});  // what was forgotten is left out
  CHECK(ring.since(99, 10) == Piece{"", 12});
}

TEST_CASE("any pieces make the same console", "[console]") {
  std::string all;
  ConsoleRing ring(100);
  for (std::size_t size = 1; size < 60; ++size) {
    const std::string piece(size, static_cast<char>('A' + size % 26));
    ring.append(bytes(piece));
    all += piece;
    REQUIRE(ring.tail(100) == all.substr(all.size() - std::min<std::size_t>(all.size(), 100)));
  }
}

TEST_CASE("a mark is found wherever it is cut", "[console]") {
  const std::string text = "boot NANOBOX_NANOBOX_READY now";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    StreamMark mark("NANOBOX_READY");
    const bool first = mark.seen(bytes(text.substr(0, cut)));
    CHECK(first == (cut >= text.find("READY") + 5));
    CHECK(mark.seen(bytes(text.substr(cut))));
  }
  StreamMark mark("NANOBOX_READY");
  for (const char c : std::string("NANOBOX_READ")) CHECK_FALSE(mark.seen(bytes({&c, 1})));
  CHECK_FALSE(mark.seen(bytes("X")));
}
