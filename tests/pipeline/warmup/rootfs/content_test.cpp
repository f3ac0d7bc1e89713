// File contents, folders and forms of compression.
#include <catch2/catch.hpp>
#include <random>

#include "tests/pipeline/warmup/rootfs/layers_fixture.hpp"
#include "tests/pipeline/warmup/rootfs/tar_builder.hpp"

using namespace nanobox;
using namespace nanobox::test;
using Catch::Contains;

namespace {

std::string random_bytes(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (auto& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

std::string octal12(std::uint64_t value) {
  std::string text(12, '\0');
  std::snprintf(text.data(), text.size(), "%011llo", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

TEST_CASE_METHOD(LayersFixture, "files of every size near a block's edge arrive whole", "[content]") {
  TarBuilder tar;
  std::map<std::string, std::string> files;
  for (const std::size_t size : {0U, 1U, 511U, 512U, 513U, 4095U, 4096U, 4097U, 65'536U, 524'288U, 1'000'000U, 4U << 20,
                                 (4U << 20) + 1, 9'000'000U}) {
    auto data = random_bytes(size, static_cast<unsigned>(size));
    tar.file("f" + std::to_string(size), data);
    files["/f" + std::to_string(size)] = std::move(data);
  }
  const auto tree = tree_of({tar.end()});
  for (const auto& [path, data] : files) CHECK((tree.at(path).content == data));
}

TEST_CASE_METHOD(LayersFixture, "long runs of zeros read as zeros", "[content]") {
  auto data = random_bytes(3U << 20, 7);
  std::fill(data.begin() + 100'000, data.begin() + 2'000'000, '\0');
  const auto tree =
      tree_of({TarBuilder().file("holes", data).file("zeros", std::string(5U << 20, '\0')).file("after", "x").end()});
  CHECK((tree.at("/holes").content == data));
  CHECK((tree.at("/zeros").content == std::string(5U << 20, '\0')));
}

TEST_CASE_METHOD(LayersFixture, "folders of one block, one level and two levels are found by hash", "[content]") {
  const int count = GENERATE(100, 200, 5'000, 40'000);
  TarBuilder tar;
  for (int at = 0; at < count; ++at) tar.file("d/" + std::to_string(at) + std::string(90, 'n'));
  const auto tree = tree_of({tar.end()});
  CHECK(tree.size() == static_cast<std::size_t>(count) + 4);
}

TEST_CASE_METHOD(LayersFixture, "more folders than an inode's link count can say", "[content]") {
  TarBuilder tar;
  for (int at = 0; at < 66'000; ++at) tar.folder("d/" + std::to_string(at));
  CHECK(tree_of({tar.end()}).at("/d").links == 1);
}

TEST_CASE_METHOD(LayersFixture, "data flows around the copies of the superblock", "[content]") {
  TarBuilder tar;
  const auto large = random_bytes(150U << 20, 3);
  tar.file("large", large).file("small", "s");
  const auto bytes = tar.end();
  const auto built = build_image(image_of({bytes}));
  REQUIRE(built);
  CHECK(e2fsck_complaints(built->image_path) == "");
  CHECK(read_image(built->image_path).at("/small").content == "s");
}

TEST_CASE_METHOD(LayersFixture, "all four sparse forms keep their holes", "[content]") {
  const std::string first(1000, 'a'), second(5000, 'b');
  const std::uint64_t at = 1U << 20, real = 10U << 20;
  std::string expected(real, '\0');
  expected.replace(0, first.size(), first);
  expected.replace(at, second.size(), second);
  const auto stored = first + second;

  TarBuilder tar;
  auto old = tar_header("old", 'S', stored.size());
  old.replace(386, 12, octal12(0));
  old.replace(398, 12, octal12(first.size()));
  old.replace(410, 12, octal12(at));
  old.replace(422, 12, octal12(second.size()));
  old.replace(434, 12, octal12(real));
  old.replace(446, 12, octal12(0));
  old.replace(483, 12, octal12(real));
  old.replace(148, 8, 8, ' ');
  unsigned sum = 0;
  for (const char byte : old) sum += static_cast<unsigned char>(byte);
  std::snprintf(old.data() + 148, 8, "%06o", sum);
  tar.raw(old).raw(stored);
  // 0.0 repeats its keys, so its records are written by hand.
  std::string pax00 =
      pax_records({{"GNU.sparse.size", std::to_string(real)}}) + pax_records({{"GNU.sparse.numblocks", "2"}});
  for (const auto& [offset, length] : {std::pair{std::uint64_t{0}, first.size()}, std::pair{at, second.size()}})
    pax00 += pax_records({{"GNU.sparse.offset", std::to_string(offset)}}) +
             pax_records({{"GNU.sparse.numbytes", std::to_string(length)}});
  tar.raw(tar_header("pax", 'x', pax00.size())).raw(pax00).raw(tar_header("v00", '0', stored.size())).raw(stored);
  tar.add({.path = "GNUSparseFile.1/v01",
           .data = stored,
           .pax = {{"GNU.sparse.size", std::to_string(real)},
                   {"GNU.sparse.numblocks", "2"},
                   {"GNU.sparse.name", "v01"},
                   {"GNU.sparse.map", "0,1000," + std::to_string(at) + ",5000"}}});
  std::string map = "2\n0\n1000\n" + std::to_string(at) + "\n5000\n";
  map.resize(512);
  tar.add({.path = "GNUSparseFile.1/v10",
           .data = map + stored,
           .pax = {{"GNU.sparse.major", "1"},
                   {"GNU.sparse.minor", "0"},
                   {"GNU.sparse.name", "v10"},
                   {"GNU.sparse.realsize", std::to_string(real)}}});
  const auto tree = tree_of({tar.end()});
  for (const auto* name : {"/old", "/v00", "/v01", "/v10"}) {
    CAPTURE(name);
    REQUIRE(tree.contains(name));
    CHECK((tree.at(name).content == expected));
    CHECK(tree.at(name).blocks == 3 * 8);
  }
}

TEST_CASE_METHOD(LayersFixture, "a sparse file of thousands of ranges gets a tree of extents", "[content]") {
  const std::uint64_t ranges = 3000, step = 3 * 4096;
  std::string map = std::to_string(ranges) + "\n", stored, expected(ranges * step, '\0');
  for (std::uint64_t at = 0; at < ranges; ++at) {
    map += std::to_string(at * step + 10) + "\n100\n";
    const std::string piece(100, static_cast<char>('a' + at % 26));
    stored += piece;
    expected.replace(at * step + 10, piece.size(), piece);
  }
  map.resize((map.size() + 511) / 512 * 512);
  TarBuilder tar;
  tar.add({.path = "f",
           .data = map + stored,
           .pax = {{"GNU.sparse.major", "1"},
                   {"GNU.sparse.minor", "0"},
                   {"GNU.sparse.name", "f"},
                   {"GNU.sparse.realsize", std::to_string(expected.size())}}});
  CHECK((tree_of({tar.end()}).at("/f").content == expected));
}

TEST_CASE_METHOD(LayersFixture, "wrong sparse maps are refused", "[content]") {
  const auto refused = [this](const std::string& map, const std::string& size,
                              ErrorCode code = ErrorCode::layer_invalid) {
    TarBuilder tar;
    tar.add({.path = "s", .data = std::string(20, 'x'), .pax = {{"GNU.sparse.size", size}, {"GNU.sparse.map", map}}});
    const auto error = error_of({tar.end()});
    CHECK(error.code == code);
    CHECK(error.subject == "s");
  };
  refused("10,10,0,10", "100");
  refused("0,10,5,10", "100");
  refused("0,10,95,10", "100");
  refused("0,10", "100");
  refused("0,10,50", "100");
  refused("0,18446744073709551615,5,21", "100");
  refused("0,20", "9223372036854775807", ErrorCode::layer_too_large);
  settings.limits.max_sparse_ranges = 1;
  refused("0,10,50,10", "100", ErrorCode::layer_too_large);
}

TEST_CASE_METHOD(LayersFixture, "gzip members, zstd frames and plain tars are told by their bytes", "[content]") {
  const auto tar = TarBuilder().file("a", random_bytes(3'000'000, 1)).end();
  const auto expected = random_bytes(3'000'000, 1);
  const auto half = tar.size() / 2;
  const std::string skippable("\x50\x2a\x4d\x18\x04\x00\x00\x00skip", 12);
  const std::vector<std::string> forms{
      tar,
      gzipped(tar),
      gzipped(tar.substr(0, half)) + gzipped(tar.substr(half)),
      gzipped(tar) + gzipped("") + std::string(100, '\0'),
      zstd_compressed(tar),
      zstd_compressed(tar.substr(0, half)) + skippable + zstd_compressed(tar.substr(half)),
      skippable + zstd_compressed(tar),
      zstd_compressed(tar, 27)};
  for (const auto& form : forms) CHECK((tree_of_image(image_of({form}, {tar})).at("/a").content == expected));
}

TEST_CASE_METHOD(LayersFixture, "zstd windows above 128 MiB are refused", "[content]") {
  const auto tar = TarBuilder().file("a", std::string(1000, 'a')).end();
  const auto error = error_of_image(image_of({zstd_compressed(tar, 28)}, {tar}));
  CHECK(error.code == ErrorCode::layer_unsupported);
  CHECK_THAT(error.reason, Contains("window"));
}

TEST_CASE_METHOD(LayersFixture, "empty layers and the same layer twice are valid", "[content]") {
  const std::string empty(1024, '\0');
  const auto tar = TarBuilder().file("a", "1").end();
  const auto tree =
      tree_of_image(image_of({gzipped(empty), tar, empty, tar, gzipped("")}, {empty, tar, empty, tar, ""}));
  CHECK(tree.at("/a").content == "1");
  CHECK(tree_of_image(image_of({})).size() == 3);
}

TEST_CASE_METHOD(LayersFixture, "many tiny files ask for more inodes than their blocks would", "[content]") {
  TarBuilder tar;
  for (int at = 0; at < 70'000; ++at) tar.file("d" + std::to_string(at % 100) + "/" + std::to_string(at));
  const auto tree = tree_of({tar.end()});
  CHECK(tree.size() == 70'000 + 100 + 3);
}
