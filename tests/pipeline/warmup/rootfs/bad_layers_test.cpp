// Bombs, damage, faults and cancellation: a clear error, and nothing left behind.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "tests/pipeline/warmup/rootfs/layers_fixture.hpp"
#include "tests/pipeline/warmup/rootfs/tar_builder.hpp"

using namespace nanobox;
using namespace nanobox::test;
using Catch::Contains;
using namespace std::chrono_literals;

namespace {

/// gzip of a tar with one file of `size` zeros, without holding the tar.
std::string zeros_bomb(std::uint64_t size) {
  // Members are independent: the same compressed 64 MiB of zeros many times.
  constexpr std::uint64_t kPiece = 64U << 20;
  auto bomb = gzipped(tar_header("zeros", '0', size));
  const auto piece = gzipped(std::string(kPiece, '\0'));
  for (std::uint64_t at = 0; at < size; at += kPiece) bomb += piece;
  return bomb + gzipped(std::string(1024, '\0'));
}

/// A tmpfs of its own size; removed with the value.
class SmallDisk {
public:
  explicit SmallDisk(const char* options) {
    mounted = ::mount("tmpfs", scratch.path.c_str(), "tmpfs", 0, options) == 0;
  }
  ~SmallDisk() {
    if (mounted) ::umount2(scratch.path.c_str(), MNT_DETACH);
  }
  ScratchFolder scratch;
  bool mounted;
};

}  // namespace

TEST_CASE_METHOD(LayersFixture, "ten gigabytes of zeros in a tiny layer are a bomb", "[bad]") {
  const auto bomb = zeros_bomb(10ULL << 30);
  CHECK(bomb.size() < (64U << 20));
  const auto error = error_of_image(image_of({bomb}, {""}));
  CHECK(error.code == ErrorCode::layer_too_large);
  CHECK(error.subject == sha256_digest(bomb));
  CHECK_THAT(error.reason, Contains("250 times"));
}

TEST_CASE_METHOD(LayersFixture, "a claimed size is checked before anything is placed", "[bad]") {
  settings.limits.max_total_bytes = 1U << 20;
  const auto error = error_of({TarBuilder().file("small").raw(tar_header("huge", '0', 2U << 20)).end()});
  CHECK(error.code == ErrorCode::layer_too_large);
  CHECK(error.subject == "huge");
  CHECK_THAT(error.reason, Contains("claimed size") && Contains("1048576"));
}

TEST_CASE_METHOD(LayersFixture, "a million entries are too many, and said so", "[bad]") {
  std::string tar, blob;
  for (int at = 0; at < 1'000; ++at) tar += TarBuilder().file("f").without_end();
  const auto piece = gzipped(tar);
  for (int at = 0; at < 1'000; ++at) blob += piece;
  const auto error = error_of_image(image_of({blob}, {tar}));
  CHECK(error.code == ErrorCode::layer_too_large);
  CHECK_THAT(error.reason, Contains("600000 entries"));
}

TEST_CASE_METHOD(LayersFixture, "each limit is named when it is passed", "[bad]") {
  const auto passes = [this](const std::string& tar, const char* reason) {
    const auto error = error_of({tar});
    CHECK(error.code == ErrorCode::layer_too_large);
    CHECK_THAT(error.reason, Contains(reason));
  };
  settings.limits.max_inflated_bytes = 1U << 20;
  passes(TarBuilder().file("a", std::string(2U << 20, 'a')).end(), "inflates to more than 1048576");
  settings.limits = {};
  settings.limits.max_file_bytes = 1000;
  passes(TarBuilder().file("a", std::string(1001, 'a')).end(), "more than 1000");
  settings.limits = {};
  std::string deep = "d";
  for (int at = 0; at < 300; ++at) deep += "/d";
  passes(TarBuilder().file(deep).end(), "255 folders deep");
  passes(TarBuilder().add({.path = "p", .pax = {{"path", std::string(5000, '/') + "x"}}}).end(), "4095 bytes");
  passes(TarBuilder().add({.path = "x", .pax = {{"comment", std::string(2U << 20, 'c')}}}).end(), "extension header");
  settings.limits.max_entries = 10;
  std::string implied;
  for (int at = 0; at < 9; ++at)
    implied += TarBuilder().file(std::to_string(at) + "/a/b/c/d/e/f/g/h/i/j/k").without_end();
  passes(implied, "implies");
}

TEST_CASE_METHOD(LayersFixture, "a wrong diff_id names the layer and both values", "[bad]") {
  const auto tar = TarBuilder().file("a").end();
  const auto blob = gzipped(tar);
  const auto error = error_of_image(image_of({blob}, {tar + "x"}));
  CHECK(error.code == ErrorCode::diff_id_mismatch);
  CHECK(error.subject == sha256_digest(blob));
  CHECK_THAT(error.reason, Contains(sha256_digest(tar)) && Contains(sha256_digest(tar + "x")));
}

TEST_CASE_METHOD(LayersFixture, "bytes behind the tar's end count for its diff_id", "[bad]") {
  const auto tar = TarBuilder().file("a", "1").end() + std::string(100'000, 'z');
  CHECK(tree_of({tar}).at("/a").content == "1");
}

TEST_CASE_METHOD(LayersFixture, "damaged layers are refused", "[bad]") {
  const auto tar = TarBuilder().file("a", std::string(100'000, 'a')).end();
  const auto refused = [this](const std::string& blob, const char* reason) {
    const auto error = error_of_image(image_of({blob}));
    CHECK(error.code == ErrorCode::layer_invalid);
    CHECK_THAT(error.reason, Contains(reason));
  };
  refused("this is no tar" + std::string(1000, 'x'), "checksum");
  refused("short", "within a header");
  refused(tar.substr(0, 5000), "within the entry's data");
  refused(gzipped(tar).substr(0, 100), "middle of a gzip");
  refused(zstd_compressed(tar).substr(0, 20), "middle of a zstd");
  refused(gzipped(tar) + "garbage", "no gzip");
  auto flipped = gzipped(tar);
  flipped[flipped.size() - 6] ^= 1;
  refused(flipped, "checksum");
  refused(std::string("\x1f\x8b") + std::string(500, '\xff'), "gzip");
  refused(TarBuilder().file("a").without_end() + std::string(512, '\0') + TarBuilder().file("b").end(), "lone block");
  refused(TarBuilder().raw(tar_header("pax", 'x', 10)).raw("99 a=b\n").end(), "PAX record");
  refused(TarBuilder().raw(tar_header("pax", 'x', 9)).raw("9 path=x\n").without_end(), "after an extension header");
  const auto error = error_of({TarBuilder().add({.path = "multi", .type = 'M'}).end()});
  CHECK(error.code == ErrorCode::layer_unsupported);
  CHECK(error.subject == "multi");
}

TEST_CASE_METHOD(LayersFixture, "of a wrong blob the digest is blamed, not its bytes", "[bad]") {
  auto image = image_of({gzipped(TarBuilder().file("a").end())});
  const std::string junk(2000, 'j');
  auto arrival = std::make_shared<BlobArrival>("sha256:right", junk.size(), blob_file(junk));
  arrival->advance(junk.size());
  arrival->fail_with({.code = ErrorCode::digest_mismatch,
                      .attempted = "fetch layer",
                      .subject = "sha256:right",
                      .reason = "wrong",
                      .mend = ""});
  image.layers[0] = arrival;
  CHECK(error_of_image(image).code == ErrorCode::digest_mismatch);
}

TEST_CASE_METHOD(LayersFixture, "layers are followed while they arrive", "[arrival]") {
  std::string data(3'000'000, '\0');
  for (std::size_t at = 0; at < data.size(); ++at) data[at] = static_cast<char>(at * 2654435761U >> 13);
  const auto tar = TarBuilder().file("a", data).end();
  const auto blob = gzipped(tar);
  auto image = image_of({blob, blob}, {tar, tar});
  const auto path = scratch.path / "growing";
  UniqueFd writer(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  auto arrival = std::make_shared<BlobArrival>(sha256_digest(blob), blob.size(),
                                               UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)));
  image.layers = {arrival, arrival};
  std::thread puller([&] {
    for (std::size_t at = 0; at < blob.size(); at += 100'000) {
      const auto size = std::min<std::size_t>(100'000, blob.size() - at);
      if (::write(writer.get(), blob.data() + at, size) != static_cast<ssize_t>(size)) return;
      arrival->advance(at + size);
      std::this_thread::yield();
    }
    arrival->complete();
  });
  auto tree = tree_of_image(image);
  puller.join();
  CHECK((tree.at("/a").content == data));
}

TEST_CASE_METHOD(LayersFixture, "nothing is handed on before the blob is verified", "[arrival]") {
  const auto tar = TarBuilder().file("a").end();
  auto image = image_of({tar});
  auto arrival = std::make_shared<BlobArrival>(sha256_digest(tar), tar.size(), blob_file(tar));
  image.layers[0] = arrival;
  arrival->advance(tar.size());
  std::stop_source stop;
  StageContext context;
  context.stop = stop.get_token();
  std::jthread cancel([&] {
    std::this_thread::sleep_for(100ms);
    stop.request_stop();
  });
  const auto extracted = extract_layers(context, image, settings);
  REQUIRE_FALSE(extracted);
  CHECK(extracted.error().code == ErrorCode::cancelled);
  CHECK(left_files().empty());
}

TEST_CASE_METHOD(LayersFixture, "a cancelled extraction ends at once, one that failed ends the others", "[arrival]") {
  auto image = image_of({TarBuilder().file("a").end(), TarBuilder().file("f").file("f/x").end() + "x"});
  auto silent = std::make_shared<BlobArrival>("sha256:silent", 1000, blob_file(""));
  image.layers[0] = silent;
  image.image.config.diff_ids[1] = "sha256:other";
  CHECK(error_of_image(image).code == ErrorCode::diff_id_mismatch);

  StageContext context;
  context.deadline = std::chrono::steady_clock::now();
  const auto late = extract_layers(context, image_of({TarBuilder().end()}), settings);
  REQUIRE_FALSE(late);
  CHECK(late.error().code == ErrorCode::deadline_exceeded);
  CHECK(left_files().empty());
}

TEST_CASE_METHOD(LayersFixture, "an extracted image that is not built leaves nothing", "[bad]") {
  {
    auto extracted = extract_layers({}, image_of({TarBuilder().file("a").end()}), settings);
    REQUIRE(extracted);
    CHECK(left_files().size() == 1);
  }
  CHECK(left_files().empty());
}

TEST_CASE_METHOD(LayersFixture, "a full disk in extract and in build leaves nothing", "[disk-full]") {
  const SmallDisk disk("size=1m");
  if (!disk.mounted) {
    WARN("no mount here: a full disk is not tested");
    return;
  }
  settings.rootfs_folder = disk.scratch.path / "rootfs";
  auto error = error_of({TarBuilder().file("a", std::string(3U << 20, 'a')).end()});
  CHECK(error.code == ErrorCode::disk_full);
  CHECK_THAT(error.mend, Contains("space"));
  TarBuilder many;
  for (int at = 0; at < 5'000; ++at) many.folder("d" + std::to_string(at));
  error = error_of({many.end()});
  CHECK(error.code == ErrorCode::disk_full);
}
