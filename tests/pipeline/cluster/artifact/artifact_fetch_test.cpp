#include <fcntl.h>
#include <sys/mount.h>

#include <catch2/catch.hpp>

#include "artifact_node.hpp"
#include "pipeline/cluster/artifact/manifest_cache.hpp"

using namespace nanobox;
using namespace nanobox::test;

TEST_CASE("an artifact arrives with its contents, holes and modes, and nothing of it stays in .tmp", "[artifact]") {
  Node node;
  make_root(node);
  fs::permissions(node.folder / "root.ext4", fs::perms{0440});
  const Folder here;
  Serving serving(node);
  std::uint64_t last = 0, total = 0;
  auto request = request_to(here);
  request.progress = [&](std::uint64_t done, std::uint64_t of) {
    CHECK(done >= last);
    last = done;
    total = of;
  };
  const auto fetched = fetch_artifact(serving.stream, request);
  REQUIRE(fetched);
  CHECK(contents(here / "root.ext4") == contents(node.folder / "root.ext4"));
  CHECK(contents(here / "root.json") == contents(node.folder / "root.json"));
  CHECK(allocated(here / "root.ext4") <= allocated(node.folder / "root.ext4"));
  CHECK(fs::status(here / "root.ext4").permissions() == fs::perms{0440});
  CHECK(fs::is_empty(here / ".tmp"));
  CHECK(last == total);
  CHECK(total == fetched->received_bytes);
  CHECK(total < (8U << 20));
  CHECK(serving.end());
}

TEST_CASE("blocks that are all zero are neither sent nor written", "[artifact]") {
  Node node;
  make_root(node);
  write_at(node.folder / "root.ext4", 1U << 20, std::string(1U << 20, '\0'));
  write_at(node.folder / "root.ext4", 6U << 20, std::string(8192, '\0'));
  const Folder here;
  Serving serving(node);
  const auto fetched = fetch_artifact(serving.stream, request_to(here));
  REQUIRE(fetched);
  CHECK(contents(here / "root.ext4") == contents(node.folder / "root.ext4"));
  CHECK(allocated(here / "root.ext4") < allocated(node.folder / "root.ext4"));
  CHECK(fetched->received_bytes < (6U << 20) + (64U << 10));
}

TEST_CASE("empty files, files that are one hole and odd sizes arrive", "[artifact]") {
  Node node;
  node.names = {"empty", "hole", "byte", "chunk", "root.json"};
  write_at(node.folder / "empty", 0, "");
  write_at(node.folder / "hole", 0, "");
  fs::resize_file(node.folder / "hole", (3U << 20) + 7);
  write_at(node.folder / "byte", 0, "x");
  write_at(node.folder / "chunk", 0, noise((1U << 20) + 1));
  write_at(node.folder / "root.json", 0, "{}");
  const Folder here;
  Serving serving(node);
  auto request = request_to(here);
  request.files = node.names;
  REQUIRE(fetch_artifact(serving.stream, request));
  for (const auto& name : node.names) CHECK(contents(here / name) == contents(node.folder / name));
  CHECK(allocated(here / "hole") == 0);
}

TEST_CASE("several artifacts come over one connection, and a node hands on what it fetched", "[artifact]") {
  Node first;
  make_root(first);
  Node second;
  {
    Serving serving(first);
    const auto fetched = fetch_artifact(serving.stream, request_to(second.folder));
    REQUIRE(fetched);
    std::vector<ArtifactPath> files;
    for (const auto& name : second.names) files.push_back({name, second.folder / name});
    REQUIRE(remember_manifest(fetched->manifest, files, second.folder / "root.chunks"));
    const auto opened = open_artifact("root", files, second.folder / "root.chunks",
                                      [](std::uint64_t, std::uint64_t) { FAIL("the files were read again"); });
    REQUIRE(opened);
    CHECK(opened->manifest == fetched->manifest);
    const Folder again;
    CHECK(fetch_artifact(serving.stream, request_to(again)));
  }
  const Folder third;
  Serving serving(second);
  REQUIRE(fetch_artifact(serving.stream, request_to(third)));
  CHECK(contents(third / "root.ext4") == contents(first.folder / "root.ext4"));
}

TEST_CASE("a source whose files are deleted meanwhile still sends them", "[artifact]") {
  Node node;
  make_root(node);
  const auto whole = contents(node.folder / "root.ext4");
  node.on_open = [&](OpenArtifact&) {
    fs::remove(node.folder / "root.ext4");
    fs::remove(node.folder / "root.json");
  };
  const Folder here;
  Serving serving(node);
  REQUIRE(fetch_artifact(serving.stream, request_to(here)));
  CHECK(contents(here / "root.ext4") == whole);
}

TEST_CASE("a wrong ticket and an unknown artifact are refused as the catalogue says", "[artifact]") {
  Node node;
  make_root(node);
  const Folder here;
  Serving serving(node);
  auto request = request_to(here);
  request.ticket = "another";
  auto fetched = fetch_artifact(serving.stream, request);
  REQUIRE_FALSE(fetched);
  CHECK(fetched.error().code == ErrorCode::token_invalid);
  CHECK_FALSE(is_source_bad(fetched.error()));
  request = request_to(here);
  request.name = "other";
  fetched = fetch_artifact(serving.stream, request);
  REQUIRE_FALSE(fetched);
  CHECK(fetched.error().code == ErrorCode::artifact_missing);
  CHECK(fetched.error().subject == "other");
  CHECK_FALSE(fs::exists(here / ".tmp"));
}

TEST_CASE("an artifact missing at its source is refused as missing", "[artifact]") {
  Node node;
  const Folder here;
  Serving serving(node);
  const auto fetched = fetch_artifact(serving.stream, request_to(here));
  REQUIRE_FALSE(fetched);
  CHECK(fetched.error().code == ErrorCode::artifact_missing);
}

TEST_CASE("a full disk is told and leaves nothing behind", "[artifact]") {
  Node node;
  make_root(node);
  const Folder here;
  const char* const room = GENERATE("size=2m", "size=9m");
  if (::mount("none", here.path().c_str(), "tmpfs", 0, room) != 0) {
    WARN("this user cannot mount a small file system: not tested");
    return;
  }
  struct Unmount {
    const fs::path& path;
    ~Unmount() { ::umount2(path.c_str(), MNT_DETACH); }
  } const unmount{here.path()};
  Serving serving(node);
  auto request = request_to(here);
  // With more room it fills up only on the way.
  request.progress = [&](std::uint64_t done, std::uint64_t) {
    if (done == 0) write_at(here / "ballast", 0, std::string(5U << 20, 'x'));
  };
  const auto fetched = fetch_artifact(serving.stream, request);
  REQUIRE_FALSE(fetched);
  CHECK(fetched.error().code == ErrorCode::disk_full);
  CHECK_FALSE(fs::exists(here / "root.ext4"));
  CHECK(fs::is_empty(here / ".tmp"));
}

TEST_CASE("more than the caller is ready to take is not begun", "[artifact]") {
  Node node;
  make_root(node);
  const Folder here;
  Serving serving(node);
  auto request = request_to(here);
  request.most_bytes = 1U << 20;
  const auto fetched = fetch_artifact(serving.stream, request);
  REQUIRE_FALSE(fetched);
  CHECK(fetched.error().code == ErrorCode::body_too_large);
  CHECK_FALSE(fs::exists(here / ".tmp"));
}

TEST_CASE("a fetch that is cancelled ends at once and can be gone on with", "[artifact]") {
  Node node;
  make_root(node);
  const Folder here;
  std::stop_source stop;
  {
    Serving serving(node);
    auto request = request_to(here);
    request.progress = [&](std::uint64_t done, std::uint64_t) {
      if (done > (2U << 20)) stop.request_stop();
    };
    const auto fetched = fetch_artifact(serving.stream, request, stop.get_token());
    REQUIRE_FALSE(fetched);
    CHECK(fetched.error().code == ErrorCode::cancelled);
  }
  Serving serving(node);
  const auto fetched = fetch_artifact(serving.stream, request_to(here));
  REQUIRE(fetched);
  CHECK(fetched->received_bytes < (6U << 20));
}

TEST_CASE("a fetch that waits for a silent source is cancelled", "[artifact]") {
  auto ends = connected_sockets();
  SocketStream stream(std::move(ends.first)), silent(std::move(ends.second));
  std::stop_source stop;
  std::thread canceller([&] {
    std::byte byte;
    (void)silent.read({&byte, 1});  // it has asked
    stop.request_stop();
  });
  const Folder here;
  const auto fetched = fetch_artifact(stream, request_to(here), stop.get_token());
  canceller.join();
  REQUIRE_FALSE(fetched);
  CHECK(fetched.error().code == ErrorCode::cancelled);
}

TEST_CASE("two fetches of an artifact to one place do not get into each other's way", "[artifact]") {
  Node node;
  make_root(node);
  const Folder here;
  Serving serving(node);
  auto request = request_to(here);
  bool tried = false;
  request.progress = [&](std::uint64_t, std::uint64_t) {
    if (std::exchange(tried, true)) return;
    Serving other(node);
    const auto second = fetch_artifact(other.stream, request_to(here));
    REQUIRE_FALSE(second);
    CHECK(second.error().code == ErrorCode::conflict);
  };
  CHECK(fetch_artifact(serving.stream, request));
}
