#include "pipeline/boot/memory/flat_memory.hpp"

#include <sys/mount.h>
#include <sys/wait.h>

#include <sched.h>

#include "pipeline/boot/memory/page_checksum.hpp"
#include "tests/pipeline/boot/memory/memory_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

/// Data and holes of a file, one letter a page: 'D' or '.'.
std::string extents_of(const std::filesystem::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string map;
  const auto pages = std::filesystem::file_size(path) / page_bytes;
  for (std::uint64_t page = 0; page < pages; ++page) {
    const auto at = static_cast<off_t>(page * page_bytes);
    map += lseek(file.get(), at, SEEK_DATA) == at ? 'D' : '.';
  }
  return map;
}

class FlatFixture : public MemoryFixture {
public:
  std::filesystem::path flat(const std::string& name, std::uint64_t memory_pages, const std::filesystem::path& base,
                             const MemoryLayer* older, const std::vector<PageRun>& runs, const std::string& letters) {
    const auto pages = pages_of(letters);
    must(write_memory_file(folder / name,
                           {.memory_bytes = memory_pages * page_bytes,
                            .base = base,
                            .older = older,
                            .runs = runs,
                            .pages = std::as_bytes(std::span(pages))},
                           true));
    return folder / name;
  }
};

}  // namespace

TEST_CASE_METHOD(FlatFixture, "a memory file is the base, the layer over it and the newest pages over both",
                 "[memory]") {
  const auto base = memory_file("bbbb....bbbb....bb");
  const auto older = layer("older", 18, {{1, 2}, {5, 2}, {9, 2}}, "oooo.o");
  const auto path = flat("flat", 18, base, &older, {{2, 1}, {6, 1}, {11, 3}, {17, 1}}, "n.n.n.");
  CHECK(letters_of(content_of(path)) == "bonb.o..b.on.n..b.");
  CHECK(std::filesystem::status(path).permissions() == static_cast<std::filesystem::perms>(0444));
  // Zeros are holes, whether they were newest, in the layer or in the base's holes.
  CHECK(extents_of(path) == "DDDD.D..D.DD.D..D.");
}

TEST_CASE_METHOD(FlatFixture, "without a base a memory file is zeros and what was written", "[memory]") {
  const auto path = flat("flat", 10, {}, nullptr, {{3, 3}}, "a.c");
  CHECK(letters_of(content_of(path)) == "...a.c....");
  CHECK(extents_of(path) == "...D.D....");
  CHECK(letters_of(content_of(flat("empty", 10, {}, nullptr, {}, ""))) == "..........");
}

TEST_CASE_METHOD(FlatFixture, "a memory file has no more extents than a VMM maps", "[memory]") {
  std::string base_letters, expected;
  std::vector<PageRun> runs;
  for (std::uint64_t i = 0; i < 400; ++i) {
    base_letters += "b..";
    expected += i % 2 == 0 ? "bn." : "b..";
    if (i % 2 == 0) runs.push_back({3 * i + 1, 1});
  }
  base_letters += std::string(100, '.') + "b";
  expected += std::string(100, '.') + "b";
  const auto path = flat("flat", expected.size(), memory_file(base_letters), nullptr, runs, std::string(200, 'n'));
  CHECK(letters_of(content_of(path)) == expected);
  const auto extents = extents_of(path);
  std::size_t count = 0;
  for (std::size_t i = 0; i < extents.size(); ++i) count += extents[i] == 'D' && (i == 0 || extents[i - 1] != 'D');
  CHECK(count == memory_file_extents_max);
  CHECK(extents.substr(1200, 100) == std::string(100, '.'));  // the widest hole stays
}

TEST_CASE_METHOD(FlatFixture, "a base of another size is refused, and nothing is left", "[memory]") {
  const auto base = memory_file("bbb");
  const auto written = write_memory_file(
      folder / "flat", {.memory_bytes = 4 * page_bytes, .base = base, .older = nullptr, .runs = {}, .pages = {}},
      false);
  REQUIRE_FALSE(written);
  CHECK(written.error().code == ErrorCode::file_unreadable);
  CHECK_FALSE(std::filesystem::exists(folder / "flat"));
}

TEST_CASE_METHOD(FlatFixture, "a full disk is called that, and nothing is left on it", "[memory]") {
  const auto disk = folder / "disk";
  std::filesystem::create_directory(disk);
  const auto pages = pages_of(std::string(200, 'x'));
  const std::vector<PageRun> runs{{0, 200}};
  const auto child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=400k") != 0)
      _exit(2);
    const MemoryContents contents{.memory_bytes = 300 * page_bytes,
                                  .base = {},
                                  .older = nullptr,
                                  .runs = runs,
                                  .pages = std::as_bytes(std::span(pages))};
    const auto file = write_memory_file(disk / "flat", contents, true);
    const auto layer = write_memory_layer(disk / "layer", contents, true);
    const bool right = !file && file.error().code == ErrorCode::disk_full && !layer &&
                       layer.error().code == ErrorCode::disk_full && std::filesystem::is_empty(disk);
    _exit(right ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  if (WEXITSTATUS(status) == 2) {
    WARN("no tmpfs can be mounted here");
    return;
  }
  CHECK(status == 0);
}

TEST_CASE_METHOD(FlatFixture, "a file's checksum does not tell holes from zeros, but all else", "[memory]") {
  const auto sum = [&](const std::string& letters) { return must(checksum_of_file(memory_file(letters, "summed"))); };
  const auto one = sum("..a.b.");
  CHECK(one == sum("..a.b."));
  const UniqueFd file(::open((folder / "summed").c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(pwrite(file.get(), pages_of("..").data(), 2 * page_bytes, 0) == 2 * page_bytes);
  CHECK(one == must(checksum_of_file(folder / "summed")));
  for (const auto* other : {"..a.b", "..a.b..", "..ab..", "..b.a.", "......", ".a..b.", "..a.a."})
    CHECK(one != sum(other));
  CHECK(sum("") != sum("."));
  std::ofstream(folder / "odd") << "abc";
  CHECK(must(checksum_of_file(folder / "odd")) != sum("."));
  CHECK_FALSE(checksum_of_file(folder / "none"));
}

TEST_CASE("page checksums are CRC-32C, three at a time or one", "[memory]") {
  const auto pages = pages_of(".abc.");
  for (std::size_t count = 0; count <= 5; ++count) {
    std::vector<std::uint32_t> sums(count);
    checksum_pages(std::as_bytes(std::span(pages)).first(count * page_bytes), sums);
    for (std::size_t i = 0; i < count; ++i) {
      std::vector<std::uint32_t> one(1);
      checksum_pages(std::as_bytes(std::span(pages)).subspan(i * page_bytes, page_bytes), one);
      CHECK(sums[i] == one[0]);
      CHECK((sums[i] == zero_page_checksum) == (i == 0 || i == 4));
    }
  }
}
