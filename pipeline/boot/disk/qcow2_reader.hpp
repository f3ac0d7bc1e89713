#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/boot/disk/qcow2.hpp"

namespace nanobox {

/// What a qcow2 file says of one of the guest's clusters.
struct Qcow2Cluster {
  enum class Kind : std::uint8_t { unallocated, zeros, data };  ///< unallocated: the backing file shows
  Kind kind = Kind::unallocated;
  std::uint64_t position = 0;  ///< of data: in the file, before its end; what lies behind the end is zeros
};

/// Reads which clusters a qcow2 file of ours has allocated. It trusts nothing in it: a VMM wrote it that its guest may
/// own. Reads are bounded by the file's size, memory by a table each. Move-only.
/// @see  qemu docs/interop/qcow2.txt
class Qcow2Reader {
public:
  /// @param path  a regular file; links are not followed
  /// @errors  io_failed: the reason tells what is wrong with it, the subject is `path`
  static Result<Qcow2Reader> open(const std::filesystem::path& path);
  /// @param name  what errors call it
  static Result<Qcow2Reader> read(UniqueFd file, std::string name);

  /// The size of the disk that the guest sees.
  std::uint64_t size_bytes() const { return size_bytes_; }
  int file() const { return file_.get(); }
  /// The number of L2 tables that such a disk has; each tells of `qcow2::kTableClusters` clusters.
  std::uint64_t tables() const;
  /// Reads L2 table `index` into `clusters`, which gets one entry for each of its clusters, those behind the disk's end
  /// too; false, and `clusters` as it was, where the file has no such table. Each table may be read once: all together
  /// they may not name more clusters than the file has.
  /// @errors  io_failed
  Result<bool> read_table(std::uint64_t index, std::vector<Qcow2Cluster>& clusters);

private:
  Qcow2Reader(UniqueFd file, std::string name) : file_(std::move(file)), name_(std::move(name)) {}
  Error wrong(std::string reason) const;
  Result<void> read_at(std::uint64_t position, void* bytes, std::size_t size) const;
  Result<void> read_header();

  UniqueFd file_;
  std::string name_;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t clusters_left_ = 0;  ///< that the file may still name
  std::vector<std::uint64_t> l1_;    ///< big-endian
};

}  // namespace nanobox
