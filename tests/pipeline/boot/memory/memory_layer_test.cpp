#include "pipeline/boot/memory/memory_layer.hpp"

#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>

#include "pipeline/boot/memory/flat_memory.hpp"
#include "pipeline/boot/memory/memory_layer_format.h"
#include "pipeline/boot/memory/page_checksum.hpp"
#include "tests/pipeline/boot/memory/memory_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;
using Catch::Matchers::Contains;

namespace {

class LayerFixture : public MemoryFixture {
public:
  /// A layer file's bytes with another table, whose checksum is right; opened.
  Result<MemoryLayer> open_with_runs(std::string bytes, std::span<const PageRun> runs) {
    auto* octets = reinterpret_cast<std::uint8_t*>(bytes.data());
    auto* table = octets + NANOBOX_LAYER_HEADER;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      nanobox_put32(table + i * 8, static_cast<std::uint32_t>(runs[i].first));
      nanobox_put32(table + i * 8 + 4, static_cast<std::uint32_t>(runs[i].count));
    }
    nanobox_put32(octets + 12, nanobox_layer_header_checksum(octets, table, static_cast<std::uint32_t>(runs.size())));
    return open(bytes);
  }
  Result<MemoryLayer> open(const std::string& bytes) {
    std::ofstream(folder / "changed", std::ios::binary | std::ios::trunc) << bytes;
    return open_memory_layer(folder / "changed");
  }
};

}  // namespace

TEST_CASE_METHOD(LayerFixture, "a layer is read as it was written", "[memory]") {
  const std::vector<PageRun> runs{{1, 2}, {7, 1}, {9, 3}};
  const auto read = layer("one", 12, runs, "ab.def");
  CHECK(read.memory_bytes == 12 * page_bytes);
  CHECK(read.runs == runs);
  CHECK(letters_in(read) == "ab.def");
  CHECK(read.page_checksums.at(2) == zero_page_checksum);
  CHECK(verify_pages(read));
  CHECK(std::filesystem::status(read.path).permissions() == static_cast<std::filesystem::perms>(0444));
  CHECK(std::filesystem::file_size(read.path) == read.pages_offset + 6 * page_bytes);
}

TEST_CASE_METHOD(LayerFixture, "a layer of nothing is a layer", "[memory]") {
  const auto read = layer("none", 12, {}, "");
  CHECK(read.runs.empty());
  CHECK(verify_pages(read));
}

TEST_CASE_METHOD(LayerFixture, "in a layer over another the newest pages win", "[memory]") {
  const auto older = layer("older", 20, {{0, 3}, {6, 4}, {15, 1}}, "abcdefgh");
  const auto both = layer("both", 20, {{2, 2}, {7, 1}, {19, 1}}, "CXE.", &older);
  CHECK(both.runs == std::vector<PageRun>{{0, 4}, {6, 4}, {15, 1}, {19, 1}});
  CHECK(letters_in(both) == "abCXdEfgh.");
  CHECK(verify_pages(both));
  // The older one's damage is not made good by copying it.
  auto bytes = content_of(older.path);
  bytes[older.pages_offset] ^= 1;
  const auto damaged = must(open(bytes));
  CHECK_FALSE(verify_pages(layer("heir", 20, {{2, 2}}, "CX", &damaged)));
}

TEST_CASE_METHOD(LayerFixture, "more runs than a file has are joined with the base's pages", "[memory]") {
  constexpr std::uint64_t memory_pages = 4 * NANOBOX_LAYER_RUNS_MAX;
  std::vector<PageRun> even, odd;
  for (std::uint64_t i = 0; i < NANOBOX_LAYER_RUNS_MAX; ++i) even.push_back({4 * i, 1});
  for (std::uint64_t i = 0; i < 10; ++i) odd.push_back({4 * i + 2, 1});
  const auto base = memory_file(std::string(memory_pages, 'b'));
  const auto older = layer("older", memory_pages, even, std::string(even.size(), 'e'));
  const auto both = layer("both", memory_pages, odd, std::string(odd.size(), 'n'), &older, base);
  CHECK(both.runs.size() == NANOBOX_LAYER_RUNS_MAX);
  CHECK(letters_in(both).substr(0, 25) == "ebnbebnbebnbebnbebnbenene");
  CHECK(verify_pages(both));
  // Without a base the pages between are zeros.
  const auto without = layer("without", memory_pages, odd, std::string(odd.size(), 'n'), &older);
  CHECK(letters_in(without).substr(0, 25) == "e.n.e.n.e.n.e.n.e.n.enene");
  CHECK(verify_pages(without));

  const auto gone = write_memory_layer(
      folder / "gone",
      {.memory_bytes = memory_pages * page_bytes, .base = folder / "no", .older = &older, .runs = {}, .pages = {}},
      false);
  CHECK(gone);  // nothing has to be joined: the base is not looked at
  const auto pages = pages_of(std::string(odd.size(), 'n'));
  const auto failed = write_memory_layer(folder / "failed",
                                         {.memory_bytes = memory_pages * page_bytes,
                                          .base = folder / "no",
                                          .older = &older,
                                          .runs = odd,
                                          .pages = std::as_bytes(std::span(pages))},
                                         false);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == ErrorCode::file_unreadable);
  CHECK_FALSE(std::filesystem::exists(folder / "failed"));
}

TEST_CASE_METHOD(LayerFixture, "a layer that was cut, lengthened or damaged is refused by name", "[memory]") {
  const auto whole = layer("whole", 12, {{1, 2}, {7, 1}}, "abc");
  const auto bytes = content_of(whole.path);
  for (const std::size_t size : {std::size_t{0}, std::size_t{63}, std::size_t{64}, std::size_t{100},
                                 bytes.size() - page_bytes, bytes.size() - 1}) {
    const auto cut = open(bytes.substr(0, size));
    REQUIRE_FALSE(cut);
    CHECK(cut.error().code == ErrorCode::file_unreadable);
    CHECK_THAT(cut.error().subject, Contains("changed"));
  }
  CHECK_FALSE(open(bytes + 'x'));
  // Every bit of header, run table and page checksums counts.
  for (std::size_t bit = 0; bit < (NANOBOX_LAYER_HEADER + 2 * NANOBOX_LAYER_RUN + 3 * 4) * 8; ++bit) {
    auto flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    INFO("bit " << bit);
    CHECK_FALSE(open(flipped));
  }
  auto page = bytes;
  page[whole.pages_offset + page_bytes + 5] ^= 4;
  const auto opened = open(page);
  REQUIRE(opened);
  const auto verified = verify_pages(*opened);
  REQUIRE_FALSE(verified);
  CHECK_THAT(verified.error().reason, Contains("page 1 is damaged"));
}

TEST_CASE_METHOD(LayerFixture, "a run table that lies is refused though its checksum is right", "[memory]") {
  const auto bytes = content_of(layer("whole", 12, {{1, 2}, {7, 1}}, "abc").path);
  CHECK(open_with_runs(bytes, std::vector<PageRun>{{3, 2}, {7, 1}}));
  for (const auto& runs : std::vector<std::vector<PageRun>>{{{1, 2}, {2, 1}},
                                                            {{7, 1}, {1, 2}},
                                                            {{1, 3}, {7, 0}},
                                                            {{1, 2}, {12, 1}},
                                                            {{1, 2}, {11, 2}},
                                                            {{1, 2}, {7, 2}},
                                                            {{1, 2}, {UINT32_MAX, 1}}})
    CHECK_FALSE(open_with_runs(bytes, runs));
  auto many = bytes;
  nanobox_put32(reinterpret_cast<std::uint8_t*>(many.data()) + 32, NANOBOX_LAYER_RUNS_MAX + 1);
  const auto opened = open(many);
  REQUIRE_FALSE(opened);
  CHECK_THAT(opened.error().reason, Contains("too many runs"));
}

TEST_CASE_METHOD(LayerFixture, "only a regular file is a layer, and no link to one", "[memory]") {
  const auto whole = layer("whole", 12, {{1, 2}}, "ab");
  std::filesystem::create_symlink(whole.path, folder / "link");
  CHECK_FALSE(open_memory_layer(folder / "link"));
  CHECK_FALSE(open_memory_layer(folder));
  CHECK_FALSE(open_memory_layer(folder / "none"));
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK_FALSE(open_memory_layer(folder / "pipe"));
}

TEST_CASE_METHOD(LayerFixture, "pages and runs that do not fit are not written, nor over a file that is there",
                 "[memory]") {
  const auto pages = pages_of("ab");
  const auto write = [&](const std::string& name, std::uint64_t memory_bytes, const std::vector<PageRun>& runs,
                         const MemoryLayer* older = nullptr) {
    return write_memory_layer(folder / name,
                              {.memory_bytes = memory_bytes,
                               .base = {},
                               .older = older,
                               .runs = runs,
                               .pages = std::as_bytes(std::span(pages))},
                              true);
  };
  const auto other = layer("other", 13, {}, "");
  CHECK(write("good", 12 * page_bytes, {{1, 2}}));
  CHECK_FALSE(write("good", 12 * page_bytes, {{1, 2}}));
  CHECK(open_memory_layer(folder / "good"));
  CHECK_FALSE(write("bad", 12 * page_bytes, {{1, 1}}));
  CHECK_FALSE(write("bad", 12 * page_bytes, {{11, 2}}));
  CHECK_FALSE(write("bad", 12 * page_bytes + 1, {{1, 2}}));
  CHECK_FALSE(write("bad", 0, {{1, 2}}));
  CHECK_FALSE(write("bad", 12 * page_bytes, {{1, 2}}, &other));
  CHECK_FALSE(std::filesystem::exists(folder / "bad"));
}

TEST_CASE_METHOD(LayerFixture, "no file is left where there was no room for it", "[memory]") {
  const auto base = memory_file("abcdefghijkl");
  const auto pages = pages_of("xyz");
  const std::vector<PageRun> runs{{9, 3}};
  const auto child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit room{2 * page_bytes, 2 * page_bytes};
    setrlimit(RLIMIT_FSIZE, &room);
    const MemoryContents contents{.memory_bytes = 12 * page_bytes,
                                  .base = base,
                                  .older = nullptr,
                                  .runs = runs,
                                  .pages = std::as_bytes(std::span(pages))};
    const bool failed =
        !write_memory_layer(folder / "layer", contents, false) && !write_memory_file(folder / "flat", contents, false);
    _exit(failed ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK_FALSE(std::filesystem::exists(folder / "layer"));
  CHECK_FALSE(std::filesystem::exists(folder / "flat"));
}
