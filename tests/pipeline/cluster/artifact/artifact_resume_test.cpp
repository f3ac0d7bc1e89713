#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "artifact_node.hpp"
#include "pipeline/cluster/artifact/partial_artifact.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

/// Gets some of it and loses the connection.
void fetch_some(const Node& node, const Folder& here, std::uint64_t bytes) {
  Serving serving(node);
  serving.stream.cut_after = bytes;
  const auto fetched = fetch_artifact(serving.stream, request_to(here));
  REQUIRE_FALSE(fetched);
  REQUIRE(fetched.error().code == ErrorCode::connection_lost);
  REQUIRE_FALSE(fs::exists(here / "root.ext4"));
  REQUIRE_FALSE(fs::exists(here / "root.json"));
}

}  // namespace

TEST_CASE("after a cut only what is missing is sent", "[artifact]") {
  Node node;
  make_root(node);
  const Folder here;
  fetch_some(node, here, 4'300'000);
  Serving serving(node);
  const auto fetched = fetch_artifact(serving.stream, request_to(here));
  REQUIRE(fetched);
  CHECK(fetched->received_bytes < (4U << 20));
  CHECK(serving.stream.received() < (4U << 20));
  CHECK(contents(here / "root.ext4") == contents(node.folder / "root.ext4"));
}

TEST_CASE("a fetch cut again and again gets there", "[artifact]") {
  Node node;
  make_root(node);
  const Folder here;
  for (int tries = 0; !fs::exists(here / "root.json"); ++tries) {
    REQUIRE(tries < 12);
    Serving serving(node);
    serving.stream.cut_after = 1'200'000;
    (void)fetch_artifact(serving.stream, request_to(here));
  }
  CHECK(contents(here / "root.ext4") == contents(node.folder / "root.ext4"));
}

TEST_CASE("another source of the same contents goes on where the first was cut", "[artifact]") {
  Node first, second;
  make_root(first);
  make_root(second);
  // Other holes, written otherwise: the same contents.
  write_at(second.folder / "root.ext4", 4U << 20, std::string(100'000, '\0'));
  const Folder here;
  fetch_some(first, here, 4'300'000);
  Serving serving(second);
  const auto fetched = fetch_artifact(serving.stream, request_to(here));
  REQUIRE(fetched);
  CHECK(fetched->received_bytes < (4U << 20));
  CHECK(contents(here / "root.ext4") == contents(first.folder / "root.ext4"));
}

TEST_CASE("a source of other contents is begun with anew", "[artifact]") {
  Node first, second;
  make_root(first);
  make_root(second);
  write_at(second.folder / "root.ext4", 100, "changed");
  const Folder here;
  fetch_some(first, here, 4'300'000);
  Serving serving(second);
  REQUIRE(fetch_artifact(serving.stream, request_to(here)));
  CHECK(contents(here / "root.ext4") == contents(second.folder / "root.ext4"));
}

TEST_CASE("what is kept is not trusted when a file was exchanged or the record is of another boot", "[artifact]") {
  Node node;
  make_root(node);
  const Folder here;
  fetch_some(node, here, 4'300'000);
  const auto part = here / ".tmp/root.part";
  SECTION("a file") {
    fs::rename(part / "0", part / "old");
    write_at(part / "0", 0, std::string(fs::file_size(part / "old"), 'x'));
  }
  SECTION("a file's size") {
    fs::resize_file(part / "0", 77);
  }
  SECTION("the boot") {
    write_at(part / "verified", 8, "00000000");
  }
  SECTION("the record's length") {
    fs::resize_file(part / "verified", fs::file_size(part / "verified") - 1);
  }
  SECTION("no record") {
    fs::remove(part / "verified");
  }
  Serving serving(node);
  const auto fetched = fetch_artifact(serving.stream, request_to(here));
  REQUIRE(fetched);
  CHECK(fetched->received_bytes > (7U << 20));
  CHECK(contents(here / "root.ext4") == contents(node.folder / "root.ext4"));
}

TEST_CASE("a corrupted chunk is refused and named, and the good ones serve with the next source", "[artifact]") {
  Node bad, good;
  make_root(bad);
  make_root(good);
  bad.on_open = [&](OpenArtifact&) { write_at(bad.folder / "root.ext4", (6U << 20) + 999, "!"); };
  const Folder here;
  {
    Serving serving(bad);
    const auto fetched = fetch_artifact(serving.stream, request_to(here));
    REQUIRE_FALSE(fetched);
    CHECK(fetched.error().code == ErrorCode::digest_mismatch);
    CHECK(fetched.error().subject == "root.ext4, chunk 6");
    CHECK(is_source_bad(fetched.error()));
    CHECK_FALSE(fs::exists(here / "root.ext4"));
  }
  Serving serving(good);
  const auto fetched = fetch_artifact(serving.stream, request_to(here));
  REQUIRE(fetched);
  CHECK(fetched->received_bytes < (5U << 20));
  CHECK(contents(here / "root.ext4") == contents(good.folder / "root.ext4"));
}

TEST_CASE("a source whose file has become shorter says so", "[artifact]") {
  Node node;
  make_root(node);
  node.on_open = [&](OpenArtifact&) { fs::resize_file(node.folder / "root.ext4", 6U << 20); };
  const Folder here;
  Serving serving(node);
  const auto fetched = fetch_artifact(serving.stream, request_to(here));
  REQUIRE_FALSE(fetched);
  CHECK(fetched.error().code == ErrorCode::io_failed);
  CHECK(fetched.error().reason.find("shorter") != std::string::npos);
}

TEST_CASE("a discarded artifact begins anew", "[artifact]") {
  Node node;
  make_root(node);
  const Folder here;
  fetch_some(node, here, 4'300'000);
  discard_partial_artifact(here / ".tmp", "root");
  CHECK(fs::is_empty(here / ".tmp"));
  discard_partial_artifact(here / ".tmp", "root");
}
