#include "pipeline/boot/disk/overlay.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>

#include "pipeline/boot/disk/memory_file.hpp"
#include "tests/pipeline/boot/disk/qemu_tools.hpp"
#include "tests/pipeline/warmup/rootfs/layers_fixture.hpp"
#include "tests/pipeline/warmup/rootfs/tar_builder.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

constexpr std::uint64_t kMebibyte = 1U << 20;

class DiskFixture : public LayersFixture {
public:
  BuiltRootfs base = built({TarBuilder().folder("a").file("a/file", std::string(200'000, 'x')).end()});
  std::filesystem::path overlay = scratch.path / "disk.qcow2";

  BuiltRootfs built(const std::vector<std::string>& tars) {
    auto result = build(tars);
    if (!result) FAIL(describe(result.error()));
    return *result;
  }
  /// The overlay as a guest sees it, as a raw file.
  std::filesystem::path flattened() {
    const auto raw = scratch.path / "flat.ext4";
    std::filesystem::remove(raw);
    REQUIRE(runs("qemu-img convert -O raw '" + overlay.string() + "' '" + raw.string() + "'"));
    return raw;
  }
};

}  // namespace

TEST_CASE_METHOD(DiskFixture, "an overlay of the base's size shows the base", "[disk]") {
  REQUIRE(create_overlay(overlay, base.image_path, base.size_bytes));
  CHECK(runs("qemu-img check '" + overlay.string() + "'"));
  CHECK(runs("qemu-img compare '" + overlay.string() + "' '" + base.image_path.string() + "'"));
  CHECK(std::filesystem::file_size(overlay) == 4 * 65536);
}

TEST_CASE_METHOD(DiskFixture, "a grown overlay holds a clean file system of its size", "[disk]") {
  const std::uint64_t megabytes =
      GENERATE(as<std::uint64_t>(), 129, 200, 256, 300, 384, 512, 640, 1000, 2048, 4097, 20'000);
  CAPTURE(megabytes);
  const auto before = std::filesystem::last_write_time(base.image_path);
  REQUIRE(create_overlay(overlay, base.image_path, megabytes * kMebibyte));
  CHECK(runs("qemu-img check '" + overlay.string() + "'"));
  CHECK(std::filesystem::last_write_time(base.image_path) == before);
  const auto raw = flattened();
  CHECK(e2fsck_complaints(raw) == "");
  CHECK(std::filesystem::file_size(raw) == megabytes * kMebibyte);
  CHECK(read_image(raw).at("/a/file").content == std::string(200'000, 'x'));
}

TEST_CASE_METHOD(DiskFixture, "a disk grows to a tebibyte", "[disk]") {
  REQUIRE(create_overlay(overlay, base.image_path, kMebibyte << 20));
  CHECK(runs("qemu-img check '" + overlay.string() + "'"));
  CHECK(std::filesystem::file_size(overlay) < 128 * kMebibyte);
  const auto above = create_overlay(scratch.path / "above", base.image_path, (kMebibyte << 20) + kMebibyte);
  REQUIRE_FALSE(above);
  CHECK(above.error().code == ErrorCode::invalid_value);
}

TEST_CASE_METHOD(DiskFixture, "a disk below the root's size is refused with the least size", "[disk]") {
  const auto result = create_overlay(overlay, base.image_path, 16 * kMebibyte);
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::image_too_small);
  CHECK(result.error().mend == "ask for a disk_mb of at least " + std::to_string(base.size_bytes / kMebibyte));
  CHECK_FALSE(std::filesystem::exists(overlay));
}

TEST_CASE_METHOD(DiskFixture, "the header names the backing as asked, and its format", "[disk]") {
  REQUIRE(create_overlay(overlay, base.image_path, 256 * kMebibyte, "disk-base"));
  std::ifstream file(overlay, std::ios::binary);
  const std::string head{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  CHECK(head.find("disk-base") < 1024);
  CHECK(head.find("raw") < 1024);
  CHECK(head.find(base.identity) == std::string::npos);
}

TEST_CASE_METHOD(DiskFixture, "a file that is no root of ours, or none, makes no overlay", "[disk]") {
  const auto other = scratch.path / "other";
  std::ofstream(other) << std::string(1U << 20, 'x');
  const auto wrong = create_overlay(overlay, other, 256 * kMebibyte);
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().code == ErrorCode::invalid_value);
  CHECK(wrong.error().subject == other.string());
  const auto none = create_overlay(overlay, scratch.path / "none", 256 * kMebibyte);
  REQUIRE_FALSE(none);
  CHECK(none.error().code == ErrorCode::file_unreadable);
  CHECK_FALSE(std::filesystem::exists(overlay));
}

TEST_CASE_METHOD(DiskFixture, "an overlay never replaces a file", "[disk]") {
  std::ofstream(overlay) << "mine";
  CHECK_FALSE(create_overlay(overlay, base.image_path, 256 * kMebibyte));
  CHECK(std::filesystem::file_size(overlay) == 4);
}

TEST_CASE("a memory file is sparse and private", "[disk]") {
  const ScratchFolder scratch;
  const auto path = scratch.path / "mem";
  REQUIRE(create_memory_file(path, 65'536));
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK(static_cast<std::uint64_t>(status.st_size) == 65'536 * kMebibyte);
  CHECK(status.st_blocks == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK_FALSE(create_memory_file(path, 1));
}
