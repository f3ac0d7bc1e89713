#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// What NanoBox reads and writes of qcow2: version 3, 64 KiB clusters, at most 1 TiB.
namespace qcow2 {

constexpr std::uint32_t kClusterBits = 16;
constexpr std::uint64_t kClusterBytes = std::uint64_t{1} << kClusterBits;
/// The clusters of the guest's that one L2 table tells of.
constexpr std::uint64_t kTableClusters = kClusterBytes / sizeof(std::uint64_t);
constexpr std::uint64_t kTableBytes = kTableClusters * kClusterBytes;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 40;
constexpr std::uint32_t kMagic = 0x514649FB;  // "QFI\xfb"
constexpr std::size_t kHeaderBytes = 104;

}  // namespace qcow2

/// What a qcow2 file is made to be.
struct Qcow2Shape {
  std::uint64_t size_bytes = 0;        ///< as the guest sees it, at most 1 TiB
  std::string backing_name;            ///< what the header calls the backing file: 1 to 1023 bytes
  std::string backing_format = "raw";  ///< "raw" or "qcow2"
};

/// Writes a new qcow2 file of mode 0600 over a backing file: clusters in ascending order, then `finish`. Without
/// `finish` the file is removed. Move-only.
/// @see  qemu docs/interop/qcow2.txt
class Qcow2Writer {
public:
  /// @param path  must not exist
  /// @errors  invalid_value: the shape · disk_full · io_failed
  static Result<Qcow2Writer> create(const std::filesystem::path& path, Qcow2Shape shape);
  Qcow2Writer(Qcow2Writer&& other) noexcept = default;
  Qcow2Writer& operator=(Qcow2Writer&&) = delete;
  ~Qcow2Writer();

  /// The guest's cluster `index` holds `bytes`, a whole cluster. Indexes ascend from call to call, of all three kinds.
  Result<void> add(std::uint64_t index, std::span<const std::byte> bytes);
  /// The guest's clusters from `index` on, `count` of them within one L2 table, hold what `source` has at `position`;
  /// zeros behind its end.
  Result<void> add_copy(std::uint64_t index, std::uint64_t count, int source, std::uint64_t position);
  /// The guest's cluster `index` holds zeros, whatever the backing file has there.
  Result<void> add_zeros(std::uint64_t index);
  /// @param durable  the file's content is on the disk afterwards; its name is the caller's to sync
  Result<void> finish(bool durable = false);

private:
  Qcow2Writer(std::filesystem::path path, UniqueFd file, Qcow2Shape shape);
  Result<void> write(std::uint64_t position, std::span<const std::byte> bytes);
  Result<void> copy(int source, std::uint64_t from, std::uint64_t to, std::uint64_t bytes);
  Result<void> begin_table(std::uint64_t index);
  Result<void> write_table();
  Result<void> write_refcounts();
  Result<void> write_header();

  std::filesystem::path path_;
  UniqueFd file_;  ///< empty once finished
  Qcow2Shape shape_;
  std::vector<std::uint64_t> l1_;  ///< big-endian, as in the file; empty: nothing is allocated
  std::vector<std::uint64_t> l2_;  ///< the table being filled; empty: none
  std::uint64_t l2_index_ = 0;
  std::uint64_t next_cluster_;
};

}  // namespace nanobox
