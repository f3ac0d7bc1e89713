#include "pipeline/boot/output_spool.hpp"

#include <catch2/catch.hpp>

using namespace nanobox;

namespace {

constexpr std::uint64_t kMiB = 1U << 20;

/// The same bytes for the same place, so that a read from anywhere can be checked.
std::string pattern(std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>('a' + (offset + i) % 23);
  return bytes;
}

class Spool {
public:
  Spool(std::uint64_t max, std::uint64_t budget_bytes)
      : budget(std::make_shared<SpoolBudget>(budget_bytes)), spool("/tmp", budget, max) {}
  Result<void> append(std::size_t size) { return spool.append(pattern(spool.size(), size)); }
  std::shared_ptr<SpoolBudget> budget;
  OutputSpool spool;
};

}  // namespace

TEST_CASE("a large output is read back whole, across the edge of memory and file", "[spool]") {
  Spool kept(64 * kMiB, 64 * kMiB);
  for (int i = 0; i < 50; ++i) REQUIRE(kept.append(100'000));

  CHECK(kept.spool.size() == 5'000'000);
  CHECK_FALSE(kept.spool.truncated());
  std::string all;
  while (all.size() < kept.spool.size()) {
    const auto piece = kept.spool.read(all.size(), 300'000);
    REQUIRE(piece);
    REQUIRE_FALSE(piece->empty());
    all += *piece;
  }
  CHECK(all == pattern(0, 5'000'000));
}

TEST_CASE("what comes beyond the maximum is dropped and told", "[spool]") {
  Spool kept(1'000, kMiB);
  REQUIRE(kept.append(900));
  REQUIRE(kept.append(200));
  REQUIRE(kept.append(200));
  CHECK(kept.spool.size() == 1'000);
  CHECK(kept.spool.truncated());
  CHECK(kept.spool.read(0, 2'000).value() == pattern(0, 1'000));
}

TEST_CASE("only what exceeds the memory blocks", "[spool]") {
  Spool kept(4 * kMiB, 4 * kMiB);
  CHECK_FALSE(kept.spool.appends_to_file(kMiB));
  REQUIRE(kept.append(kMiB));
  CHECK(kept.spool.appends_to_file(1));
}

TEST_CASE("one budget holds for all outputs, and comes back with them", "[spool]") {
  auto budget = std::make_shared<SpoolBudget>(kMiB);
  OutputSpool first("/tmp", budget, 8 * kMiB);
  REQUIRE(first.append(pattern(0, 2 * kMiB)));
  {
    OutputSpool second("/tmp", budget, 8 * kMiB);
    const auto refused = second.append(pattern(0, 2 * kMiB));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::no_capacity);
    CHECK(second.size() == 0);
  }
  {
    OutputSpool small("/tmp", budget, 8 * kMiB);
    CHECK(small.append(pattern(0, kMiB)));  // memory costs no budget
  }
}

TEST_CASE("whether an output is text is known when it has ended", "[spool]") {
  Spool kept(kMiB, kMiB);
  REQUIRE(kept.spool.append("gr\xc3"));
  CHECK_FALSE(kept.spool.is_text());
  REQUIRE(kept.spool.append("\xbc"));
  CHECK(kept.spool.is_text());
}
