#include "pipeline/boot/memory/page_run.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <set>

using namespace nanobox;

namespace {

using Pages = std::set<std::uint64_t>;

Pages pages_in(const std::vector<PageRun>& runs) {
  Pages pages;
  for (const auto& run : runs)
    for (auto page = run.first; page < run.end(); ++page) pages.insert(page);
  return pages;
}

std::vector<PageRun> runs_of(const Pages& pages) {
  std::vector<PageRun> runs;
  for (const auto page : pages) append_run(runs, {page, 1});
  return runs;
}

}  // namespace

TEST_CASE("runs are united, subtracted and intersected as the sets of pages they are", "[memory]") {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    Pages left, right, united, rest, both;
    const auto some = [&] { return random() % 4 == 0; };
    for (std::uint64_t page = 0; page < 24; ++page) {
      if (some()) left.insert(page);
      if (some()) right.insert(page);
      if (left.contains(page) || right.contains(page)) united.insert(page);
      if (left.contains(page) && !right.contains(page)) rest.insert(page);
      if (left.contains(page) && right.contains(page)) both.insert(page);
    }
    CHECK(unite_runs(runs_of(left), runs_of(right)) == runs_of(united));
    CHECK(subtract_runs(runs_of(left), runs_of(right)) == runs_of(rest));
    CHECK(intersect_runs(runs_of(left), runs_of(right)) == runs_of(both));
  }
}

TEST_CASE("runs are joined over the smallest gaps, and no more than needed", "[memory]") {
  const std::vector<PageRun> runs{{0, 1}, {5, 1}, {7, 1}, {10, 1}, {12, 2}, {100, 1}};
  CHECK(join_runs(runs, 6) == runs);
  CHECK(join_runs(runs, 5) == std::vector<PageRun>{{0, 1}, {5, 3}, {10, 1}, {12, 2}, {100, 1}});
  CHECK(join_runs(runs, 4) == std::vector<PageRun>{{0, 1}, {5, 3}, {10, 4}, {100, 1}});
  CHECK(join_runs(runs, 2) == std::vector<PageRun>{{0, 14}, {100, 1}});
  CHECK(join_runs(runs, 1) == std::vector<PageRun>{{0, 101}});
  for (std::size_t most = 1; most < 7; ++most) {
    const auto joined = pages_in(join_runs(runs, most));
    for (const auto page : pages_in(runs)) CHECK(joined.contains(page));
  }
}

TEST_CASE("runs out of order, overlapping, empty or out of bounds are told", "[memory]") {
  CHECK(are_in_order(std::vector<PageRun>{{0, 1}, {1, 2}, {9, 1}}, 10));
  CHECK_FALSE(are_in_order(std::vector<PageRun>{{0, 2}, {1, 2}}, 10));
  CHECK_FALSE(are_in_order(std::vector<PageRun>{{4, 2}, {1, 2}}, 10));
  CHECK_FALSE(are_in_order(std::vector<PageRun>{{4, 0}}, 10));
  CHECK_FALSE(are_in_order(std::vector<PageRun>{{9, 2}}, 10));
  CHECK_FALSE(are_in_order(std::vector<PageRun>{{1, UINT64_MAX}}, 10));
}
