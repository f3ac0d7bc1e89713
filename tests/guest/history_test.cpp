#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

extern "C" {
#include "guest/init/history.h"
#include "guest/protocol.h"
}

namespace {

struct History : history {
  History() : history{} {}
  History(const History&) = delete;
  History& operator=(const History&) = delete;
  ~History() { history_drop(this); }
  void put(const std::string& text, std::uint16_t part = NANOBOX_PART_STDOUT) {
    history_put(this, part, reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  }
  /// What is kept from `position` on, as pieces of one part each.
  std::vector<std::pair<int, std::string>> from(std::uint64_t position, std::size_t most = 1000) const {
    std::vector<std::pair<int, std::string>> pieces;
    std::size_t size = most;
    std::uint16_t part = 0;
    for (const std::uint8_t* bytes = nullptr; (bytes = history_piece(this, position, &size, &part)) != nullptr;) {
      std::string text(reinterpret_cast<const char*>(bytes), size);
      if (!pieces.empty() && pieces.back().first == part)
        pieces.back().second += text;
      else
        pieces.emplace_back(part, text);
      position += size;
      size = most;
    }
    return pieces;
  }
};

using Pieces = std::vector<std::pair<int, std::string>>;

}  // namespace

TEST_CASE("both parts come back in the order in which they were kept", "[guest]") {
  History history;
  history.put("one ");
  history.put("two ", NANOBOX_PART_STDERR);
  history.put("three");
  const auto most = GENERATE(std::size_t{1}, std::size_t{3}, std::size_t{1000});
  CHECK(history.from(0, most) == Pieces{{1, "one "}, {2, "two "}, {1, "three"}});
  CHECK(history.from(5, most) == Pieces{{2, "wo "}, {1, "three"}});
  CHECK(history.from(13, most).empty());
  CHECK(history_begin(&history) == 0);
}

TEST_CASE("the last MiB is kept, whatever pieces it came in", "[guest]") {
  const auto piece = GENERATE(std::size_t{1000}, std::size_t{65536}, std::size_t{3} << 20);
  History history;
  std::string all;
  for (int i = 0; all.size() < (std::size_t{3} << 20); ++i) {
    const std::string text(piece, static_cast<char>('a' + i % 26));
    history.put(text, i % 2 == 0 ? NANOBOX_PART_STDOUT : NANOBOX_PART_STDERR);
    all += text;
  }
  CHECK(history.end == all.size());
  REQUIRE(history_begin(&history) == all.size() - NANOBOX_OUTPUT_KEPT);
  std::string kept;
  for (const auto& [part, text] : history.from(history_begin(&history), 5000)) kept += text;
  CHECK(kept == all.substr(all.size() - NANOBOX_OUTPUT_KEPT));
}

TEST_CASE("all histories together stay within their limit", "[guest]") {
  histories_limit(256 * 1024);
  History first;
  History second;
  first.put(std::string(1 << 20, 'x'));
  second.put(std::string(1 << 20, 'y'));
  CHECK(first.used == 128 * 1024);
  CHECK(second.used + first.used <= 256 * 1024);
  CHECK(second.used >= 16 * 1024);
  CHECK(second.from(history_begin(&second)).at(0).second == std::string(second.used, 'y'));
  histories_limit(16 << 20);
}
