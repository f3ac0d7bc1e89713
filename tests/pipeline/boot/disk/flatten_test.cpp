#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <random>

#include "pipeline/boot/disk/overlay.hpp"
#include "pipeline/boot/disk/qcow2.hpp"
#include "tests/pipeline/boot/disk/qemu_tools.hpp"
#include "tests/pipeline/warmup/rootfs/layers_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

constexpr std::uint64_t kCluster = qcow2::kClusterBytes;

/// A chain of overlays that QEMU wrote, beside what a guest must see, kept by ourselves.
class ChainFixture {
public:
  ScratchFolder scratch;
  std::filesystem::path base = scratch.path / "base";
  std::filesystem::path flat = scratch.path / "flat";
  std::vector<std::filesystem::path> layers;
  std::string seen;

  void make_base(std::size_t size) {
    seen.resize(size);
    for (std::size_t i = 0; i < size; ++i) seen[i] = static_cast<char>('a' + i / 512 % 26);
    std::ofstream(base, std::ios::binary) << seen;
  }
  void add_layer(std::uint64_t size) {
    const auto path = scratch.path / ("layer" + std::to_string(layers.size()));
    const auto& below = layers.empty() ? base : layers.back();
    REQUIRE(create_empty_overlay(path, size, below.string(), layers.empty() ? "raw" : "qcow2"));
    layers.push_back(path);
    seen.resize(size);
  }
  void write(std::uint64_t at, std::uint64_t size, char letter) {
    std::fill_n(seen.begin() + static_cast<std::ptrdiff_t>(at), size, letter);
    commands_ += " -c 'write -P " + std::to_string(static_cast<int>(letter)) + " " + std::to_string(at) + " " +
                 std::to_string(size) + "'";
  }
  void zero(std::uint64_t at, std::uint64_t size) {
    std::fill_n(seen.begin() + static_cast<std::ptrdiff_t>(at), size, '\0');
    commands_ += " -c 'write -z " + std::to_string(at) + " " + std::to_string(size) + "'";
  }
  void write_all() {
    if (!commands_.empty()) REQUIRE(runs("qemu-io -f qcow2" + commands_ + " '" + layers.back().string() + "'"));
    commands_.clear();
    REQUIRE(as_qemu_reads(layers.back()) == seen);
  }
  void flatten(std::uint64_t base_bytes = unknown_base_bytes) {
    const auto made = flatten_overlays(flat, layers, seen.size(), base.string(), false, base_bytes);
    if (!made) FAIL(describe(made.error()));
    CHECK(is_sound(flat));
    CHECK((as_qemu_reads(flat) == seen));
  }

private:
  std::string commands_;
};

std::uint64_t bytes_taken(const std::filesystem::path& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

}  // namespace

TEST_CASE_METHOD(ChainFixture, "an empty overlay is small, private and shows its backing file", "[disk]") {
  make_base(3 * kCluster + 4096);
  add_layer(10 * kCluster);
  CHECK(is_sound(layers[0]));
  CHECK((as_qemu_reads(layers[0]) == seen));
  CHECK(bytes_taken(layers[0]) <= 3 * 4096);
  struct stat status {};
  REQUIRE(::stat(layers[0].c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);
  CHECK(overlay_size(layers[0]).value() == 10 * kCluster);
  CHECK_FALSE(create_empty_overlay(layers[0], 1, "base", "raw"));
  CHECK(create_empty_overlay(flat, 1, "base", "vmdk").error().code == ErrorCode::invalid_value);
  CHECK(create_empty_overlay(flat, 1, std::string(1024, 'b'), "raw").error().code == ErrorCode::invalid_value);
  CHECK(create_empty_overlay(flat, (1ULL << 40) + 1, "b", "raw").error().code == ErrorCode::invalid_value);
  CHECK_FALSE(std::filesystem::exists(flat));

  SECTION("and takes what a machine writes") {
    add_layer(20 * kCluster);
    write(0, 100'352, 'x');
    write(19 * kCluster, kCluster, 'y');
    write_all();
    CHECK(is_sound(layers[1]));
  }
  SECTION("of a tebibyte") {
    REQUIRE(create_empty_overlay(flat, 1ULL << 40, layers[0].string(), "qcow2"));
    CHECK(is_sound(flat));
    REQUIRE(runs("qemu-io -f qcow2 -c 'write -P 7 1099511562240 64k' '" + flat.string() + "'"));
    CHECK(is_sound(flat));
    CHECK(overlay_size(flat).value() == 1ULL << 40);
  }
}

TEST_CASE_METHOD(ChainFixture, "the topmost version of each cluster is kept", "[disk]") {
  make_base(10 * kCluster);
  add_layer(16 * kCluster);
  write(0, 4 * kCluster, 'A');
  zero(6 * kCluster, kCluster);
  write_all();
  add_layer(16 * kCluster);
  write(kCluster, kCluster, 'B');
  zero(2 * kCluster, kCluster);
  write(7 * kCluster + 512, 512, 'B');
  write_all();
  add_layer(16 * kCluster);
  write(15 * kCluster, kCluster, 'C');
  write_all();
  flatten();
  // Six clusters of data, and no copy of the base's or of zeros.
  CHECK(std::filesystem::file_size(flat) == (4 + 1 + 5) * kCluster);
}

TEST_CASE_METHOD(ChainFixture, "what lies behind a smaller layer's end is hidden from those above", "[disk]") {
  make_base(10 * kCluster);
  const bool base_is_known = GENERATE(false, true);
  SECTION("a layer smaller than what is below it") {
    add_layer(12 * kCluster);
    write(7 * kCluster, 4 * kCluster, 'A');
    write_all();
    add_layer(8 * kCluster);
    add_layer(14 * kCluster);
    write_all();
  }
  SECTION("a layer that ends inside of a cluster which another one has") {
    add_layer(12 * kCluster);
    write(11 * kCluster, kCluster, 'A');
    write_all();
    add_layer(11 * kCluster + 4096);
    add_layer(14 * kCluster);
    write_all();
  }
  SECTION("a disk that ends inside of a cluster") {
    add_layer(9 * kCluster + 4096);
    write(9 * kCluster, 4096, 'A');
    write_all();
    add_layer(9 * kCluster + 8192);
    write_all();
  }
  flatten(base_is_known ? 10 * kCluster : unknown_base_bytes);
}

TEST_CASE_METHOD(ChainFixture, "a layer's end inside of a cluster of the base is refused", "[disk]") {
  make_base(10 * kCluster);
  add_layer(9 * kCluster + 4096);
  add_layer(12 * kCluster);
  const auto made = flatten_overlays(flat, layers, 12 * kCluster, "base", false);
  REQUIRE_FALSE(made);
  CHECK(made.error().code == ErrorCode::invalid_value);
  CHECK_FALSE(std::filesystem::exists(flat));
  CHECK(flatten_overlays(flat, layers, 12 * kCluster, "base", false, 9 * kCluster));
}

TEST_CASE_METHOD(ChainFixture, "random chains look the same flattened", "[disk]") {
  const auto seed = GENERATE(range(0U, 12U));
  std::mt19937 random(seed);
  const auto below = [&](std::uint64_t end) { return random() % end; };
  make_base(20 * kCluster);
  const auto count = 1 + below(4);
  for (std::uint64_t i = 0; i < count; ++i) {
    add_layer((14 + below(20)) * kCluster);
    for (auto writes = below(8); writes > 0; --writes) {
      const auto at = below(seen.size() / 4096) * 4096;
      const auto size = std::min<std::uint64_t>((1 + below(40)) * 4096, seen.size() - at);
      if (below(3) == 0)
        zero(at, size);
      else
        write(at, size, static_cast<char>('A' + below(26)));
    }
    write_all();
  }
  flatten(below(2) == 0 ? unknown_base_bytes : 20 * kCluster);
  REQUIRE(runs("qemu-io -f qcow2 -c 'write -P 90 4096 200k' '" + flat.string() + "'"));
  CHECK(is_sound(flat));
}

TEST_CASE_METHOD(ChainFixture, "layers above and below a table's border", "[disk]") {
  make_base(kCluster);
  const auto path = scratch.path / "layer";
  const auto size = 3 * qcow2::kTableBytes + kCluster;
  REQUIRE(create_empty_overlay(path, size, base.string(), "raw"));
  REQUIRE(
      runs("qemu-io -f qcow2 -c 'write -P 65 536805376 192k' -c 'write -P 66 1610612736 64k' '" + path.string() + "'"));
  layers = {path};
  REQUIRE(flatten_overlays(flat, layers, size, base.string(), true, kCluster));
  CHECK(is_sound(flat));
  CHECK(runs("qemu-img compare '" + path.string() + "' '" + flat.string() + "'"));
}

TEST_CASE_METHOD(ChainFixture, "more clusters than one block of reference counts has", "[disk]") {
  make_base(kCluster);
  const UniqueFd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const auto tables = GENERATE(std::uint64_t{3}, std::uint64_t{4}, std::uint64_t{9}, std::uint64_t{40});
  auto writer = Qcow2Writer::create(
      flat, {.size_bytes = (tables + 1) * qcow2::kTableBytes, .backing_name = base.string(), .backing_format = "raw"});
  REQUIRE(writer);
  for (std::uint64_t table = 0; table < tables; ++table)
    REQUIRE(writer->add_copy(table * qcow2::kTableClusters, qcow2::kTableClusters, nothing.get(), 0));
  // To both sides of where a block is full.
  const auto more = GENERATE(range(std::uint64_t{0}, std::uint64_t{2}));
  if (more > 0) REQUIRE(writer->add_copy(tables * qcow2::kTableClusters, more, nothing.get(), 0));
  REQUIRE(writer->finish());
  CHECK(is_sound(flat));
}

TEST_CASE_METHOD(ChainFixture, "a full disk leaves no flattened overlay", "[disk-full]") {
  make_base(64 * kCluster);
  add_layer(64 * kCluster);
  write(0, 40 * kCluster, 'A');
  write_all();
  const auto small = scratch.path / "small";
  std::filesystem::create_directory(small);
  if (::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=1m") != 0) {
    WARN("no mount here: a full disk is not tested");
    return;
  }
  const auto made = flatten_overlays(small / "flat", layers, seen.size(), "base", false);
  const bool left = std::filesystem::exists(small / "flat");
  ::umount2(small.c_str(), MNT_DETACH);
  REQUIRE_FALSE(made);
  CHECK(made.error().code == ErrorCode::disk_full);
  CHECK_FALSE(left);
}
