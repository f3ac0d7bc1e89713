#include <fcntl.h>

#include <catch2/catch.hpp>

#include "artifact_node.hpp"
#include "pipeline/cluster/artifact/byte_codec.hpp"
#include "pipeline/cluster/artifact/chunk_table.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

ArtifactManifest manifest_of(ArtifactFile file) {
  return {.name = "root", .files = {std::move(file)}};
}

/// Two extents in three chunks, one of them shared.
ArtifactFile good_file() {
  return {.name = "mem",
          .mode = 0600,
          .size = (3U << 20) + 10,
          .extents = {{4096, 8192}, {(1U << 20) - 4096, 8192}, {3U << 20, 10}},
          .digests = std::vector<ChunkDigest>(3)};
}

ArtifactManifest made(const Node& node) {
  return open_artifact("root", {{"root.ext4", node.folder / "root.ext4"}}, node.folder / "root.chunks")
      .value()
      .manifest;
}

}  // namespace

TEST_CASE("a manifest reads back as it was written", "[artifact]") {
  const auto manifest = manifest_of(good_file());
  const auto read = decode_manifest(encode_manifest(manifest));
  REQUIRE(read);
  CHECK(*read == manifest);
  CHECK(manifest_digest(*read) == manifest_digest(manifest));
}

TEST_CASE("a manifest that breaks a rule is refused", "[artifact]") {
  auto file = good_file();
  std::string name = "root";
  SECTION("extent outside") {
    file.extents[2].length = 11;
  }
  SECTION("extent far outside") {
    file.extents[2].offset = UINT64_MAX - 4095;
  }
  SECTION("extent that wraps") {
    file.extents[0].length = UINT64_MAX - 4000;
  }
  SECTION("empty extent") {
    file.extents[0].length = 0;
  }
  SECTION("overlap") {
    file.extents[0].length = 1U << 20;
  }
  SECTION("touching extents") {
    file.extents[1] = {12288, 4096};
  }
  SECTION("descending") {
    std::swap(file.extents[0], file.extents[1]);
  }
  SECTION("not aligned") {
    file.extents[0].offset = 4097;
  }
  SECTION("end not aligned") {
    file.extents[0].length = 100;
  }
  SECTION("too large") {
    file.size = std::uint64_t{1} << 60;
  }
  SECTION("digest too few") {
    file.digests.pop_back();
  }
  SECTION("digest too many") {
    file.digests.emplace_back();
  }
  SECTION("mode") {
    file.mode = 04755;
  }
  SECTION("file's name") {
    file.name = GENERATE("..", ".", "", "../x", "a/b", "/etc/passwd", "a b", ".hidden", "a\nb", std::string(300, 'a'));
  }
  SECTION("artifact's name") {
    name = "../root";
  }
  ArtifactManifest manifest{.name = name, .files = {file}};
  const auto read = decode_manifest(encode_manifest(manifest));
  REQUIRE_FALSE(read);
  CHECK(read.error().code == ErrorCode::peer_untrusted);
}

TEST_CASE("a manifest with two files of one name, or too many, is refused", "[artifact]") {
  ArtifactManifest manifest{.name = "root", .files = {good_file(), good_file()}};
  CHECK_FALSE(decode_manifest(encode_manifest(manifest)));
  manifest.files.clear();
  for (int i = 0; i < 65; ++i) {
    manifest.files.push_back(good_file());
    manifest.files.back().name += std::to_string(i);
  }
  CHECK_FALSE(decode_manifest(encode_manifest(manifest)));
  manifest.files.pop_back();
  CHECK(decode_manifest(encode_manifest(manifest)));
}

TEST_CASE("every shortened manifest is refused", "[artifact]") {
  const auto bytes = encode_manifest(manifest_of(good_file()));
  for (std::size_t length = 0; length < bytes.size(); ++length)
    CHECK_FALSE(decode_manifest(std::span(bytes).first(length)));
}

TEST_CASE("chunks count the data that lies in them", "[artifact]") {
  const auto manifest = manifest_of(good_file());
  const auto chunks = chunk_table(manifest);
  REQUIRE(chunks.size() == 3);
  CHECK(chunks[0].bytes == 8192 + 4096);
  CHECK(chunks[1].bytes == 4096);
  CHECK(chunks[2].number == 3);
  CHECK(chunks[2].bytes == 10);
  CHECK(pieces_of(manifest.files[0], chunks[0]) == std::vector<Extent>{{4096, 8192}, {(1U << 20) - 4096, 4096}});
  CHECK(pieces_of(manifest.files[0], chunks[1]) == std::vector<Extent>{{1U << 20, 4096}});
  CHECK(name_of(manifest, chunks[2]) == "mem, chunk 3");
}

TEST_CASE("a manifest is kept beside the files until one of them changes", "[artifact]") {
  Node node;
  make_root(node);
  const auto first = made(node);
  REQUIRE(fs::exists(node.folder / "root.chunks"));
  const auto written = fs::last_write_time(node.folder / "root.chunks");
  CHECK(made(node) == first);
  CHECK(fs::last_write_time(node.folder / "root.chunks") == written);
  SECTION("changed contents") {
    write_at(node.folder / "root.ext4", 10, "changed");
    fs::last_write_time(node.folder / "root.ext4", written + std::chrono::seconds(5));
    CHECK_FALSE(made(node) == first);
  }
  SECTION("another file in its place") {
    write_at(node.folder / "new", 0, contents(node.folder / "root.ext4") + "more");
    fs::rename(node.folder / "new", node.folder / "root.ext4");
    CHECK_FALSE(made(node) == first);
  }
  SECTION("a broken cache") {
    write_at(node.folder / "root.chunks", 200, "!");
    CHECK(made(node) == first);
  }
  SECTION("a shortened cache") {
    fs::resize_file(node.folder / "root.chunks", 40);
    CHECK(made(node) == first);
  }
}

TEST_CASE("a manifest depends on contents only, not on how a file was written", "[artifact]") {
  Node sparse, full;
  make_root(sparse);
  write_at(full.folder / "root.ext4", 0, contents(sparse.folder / "root.ext4"));
  REQUIRE(allocated(full.folder / "root.ext4") > allocated(sparse.folder / "root.ext4"));
  CHECK(made(full) == made(sparse));
}

TEST_CASE("a file that cannot be part of an artifact is refused", "[artifact]") {
  const Node node;
  const auto open = [&](const std::string& name) {
    return open_artifact("root", {{name, node.folder / name}}, node.folder / "root.chunks").error().code;
  };
  fs::create_symlink("/etc/passwd", node.folder / "link");
  fs::create_directory(node.folder / "folder");
  CHECK(open("link") == ErrorCode::io_failed);
  CHECK(open("folder") == ErrorCode::invalid_value);
  CHECK(open("nothing") == ErrorCode::artifact_missing);
  CHECK(open("../x") == ErrorCode::invalid_value);
}
