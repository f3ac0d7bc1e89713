#include "pipeline/boot/disk/qcow2_reader.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <random>

#include "pipeline/boot/disk/overlay.hpp"
#include "tests/pipeline/boot/disk/qemu_tools.hpp"
#include "tests/pipeline/warmup/rootfs/layers_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

constexpr std::uint64_t kCluster = qcow2::kClusterBytes;

/// A disk that QEMU wrote: data in clusters 2 and 3, zeros in 5.
class WrittenDisk {
public:
  ScratchFolder scratch;
  std::filesystem::path path = scratch.path / "disk";
  std::string content;

  WrittenDisk() {
    REQUIRE(runs("truncate -s 1M '" + (scratch.path / "base").string() + "'"));
    REQUIRE(create_empty_overlay(path, 16 * kCluster, (scratch.path / "base").string(), "raw"));
    REQUIRE(runs("qemu-io -f qcow2 -c 'write -P 1 128k 128k' -c 'write -z 320k 64k' '" + path.string() + "'"));
    content = content_of(path);
  }
  /// The error of reading all of a file that holds `bytes`; empty: none.
  std::string complaint(const std::string& bytes) const {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    auto reader = Qcow2Reader::open(path);
    if (!reader) return told(reader.error());
    std::vector<Qcow2Cluster> clusters;
    for (std::uint64_t table = 0; table < reader->tables(); ++table)
      if (const auto read = reader->read_table(table, clusters); !read) return told(read.error());
    return "";
  }
  std::string with(std::size_t at, std::size_t size, std::uint64_t value) const {
    auto changed = content;
    for (std::size_t i = size; i-- > 0; value >>= 8) changed[at + i] = static_cast<char>(value);
    return changed;
  }
  std::uint64_t number(std::size_t at) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(content[at + i]);
    return value;
  }
  std::size_t l2_at() const { return number(number(40)) & 0x00FF'FFFF'FFFF'FE00; }

private:
  std::string told(const Error& error) const {
    CHECK(error.code == ErrorCode::io_failed);
    CHECK(error.subject == path.string());
    return error.reason;
  }
};

}  // namespace

TEST_CASE_METHOD(WrittenDisk, "a disk's clusters are found where QEMU put them", "[qcow2]") {
  auto reader = Qcow2Reader::open(path);
  REQUIRE(reader);
  CHECK(reader->size_bytes() == 16 * kCluster);
  CHECK(reader->tables() == 1);
  std::vector<Qcow2Cluster> clusters;
  REQUIRE(reader->read_table(0, clusters).value());
  for (std::size_t i = 0; i < clusters.size(); ++i) {
    CAPTURE(i);
    const auto kind = i == 2 || i == 3 ? Qcow2Cluster::Kind::data
                      : i == 5         ? Qcow2Cluster::Kind::zeros
                                       : Qcow2Cluster::Kind::unallocated;
    if (clusters[i].kind != kind) FAIL("another kind");
    if (kind == Qcow2Cluster::Kind::data)
      CHECK(content.substr(clusters[i].position, kCluster) == std::string(kCluster, '\1'));
  }
  CHECK_FALSE(reader->read_table(1, clusters).value());
}

TEST_CASE_METHOD(WrittenDisk, "what is no such file is refused by its reason", "[qcow2]") {
  CHECK(complaint(content) == "");
  CHECK(complaint("") == "it is no qcow2 file");
  CHECK(complaint(content.substr(0, 103)) == "it is no qcow2 file");
  CHECK(complaint(with(0, 4, 0)) == "it is no qcow2 file");
  CHECK(complaint(with(4, 4, 2)) == "it is of another version of qcow2 than 3");
  CHECK(complaint(with(20, 4, 9)) == "its clusters have another size than 64 KiB");
  CHECK(complaint(with(32, 4, 1)) == "it is encrypted");
  CHECK(complaint(with(60, 4, 1)) == "it has snapshots inside");
  CHECK(complaint(with(72, 8, 1)) == "");
  for (const int feature : {1, 2, 3, 4, 5, 63})
    CHECK(complaint(with(72, 8, 1ULL << feature)).starts_with("it is marked"));
  CHECK(complaint(with(24, 8, (1ULL << 40) + 1)) == "its disk has more than 1 TiB");
  CHECK(complaint(with(24, 8, 1ULL << 40)) == "its L1 table is too short for its disk");
  CHECK(complaint(with(36, 4, 0)) == "its L1 table is too short for its disk");
  for (const auto position :
       std::initializer_list<std::uint64_t>{content.size() / kCluster * kCluster + kCluster, number(40) + 8, ~0ULL})
    CHECK(complaint(with(40, 8, position)) == "its L1 table lies outside of it");
  const auto l1 = number(40);
  for (const auto position : std::initializer_list<std::uint64_t>{l2_at() + 512, 1ULL << 40, 0x00FF'FFFF'FFFF'0000ULL})
    CHECK(complaint(with(l1, 8, position)) == "an L2 table lies outside of it");
  CHECK(complaint(with(l1, 8, 0)) == "");
  CHECK(complaint(with(l2_at() + 80, 8, 1ULL << 62)) == "it has compressed clusters");
  for (const auto position : std::initializer_list<std::uint64_t>{kCluster + 512, 1ULL << 40, 0x00FF'FFFF'FFFF'0000ULL})
    CHECK(complaint(with(l2_at() + 80, 8, position)) == "a cluster lies outside of it");
  auto many = content;
  for (std::size_t i = 0; i < 8192; ++i) many.replace(l2_at() + 8 * i, 8, content, l2_at() + 16, 8);
  CHECK(complaint(many) == "it names more clusters than it has");

  std::filesystem::remove(path);
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  CHECK(overlay_size(path).error().reason == "it is no regular file");
  std::filesystem::remove(path);
  std::filesystem::create_symlink(scratch.path / "base", path);
  CHECK_FALSE(overlay_size(path));
}

TEST_CASE_METHOD(WrittenDisk, "cut off anywhere, it is read or refused", "[qcow2]") {
  for (std::size_t size = 0; size < content.size(); size += 4096) {
    const auto reason = complaint(content.substr(0, size));
    if (size <= l2_at()) CHECK_FALSE(reason.empty());
  }
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    auto changed = content;
    const std::size_t places[] = {0, number(40), l2_at()};
    for (int j = 0; j < 3; ++j) changed[places[random() % 3] + random() % 104] = static_cast<char>(random());
    complaint(changed);
  }
}

TEST_CASE_METHOD(WrittenDisk, "flattening names the layer that is wrong, and leaves nothing", "[qcow2]") {
  const auto good = scratch.path / "good", flat = scratch.path / "flat";
  std::filesystem::copy_file(path, good);
  std::ofstream(path, std::ios::binary) << with(l2_at() + 80, 8, 1ULL << 40);
  const std::filesystem::path layers[] = {good, path};
  const auto made = flatten_overlays(flat, layers, 16 * kCluster, "base", false);
  REQUIRE_FALSE(made);
  CHECK(made.error().subject == path.string());
  CHECK_FALSE(std::filesystem::exists(flat));
}
