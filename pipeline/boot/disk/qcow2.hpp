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

/// Writes a new qcow2 file (version 3, 64 KiB clusters) over a raw backing file: clusters in ascending order, then
/// `finish`. Without `finish` the file is removed. Enough for 2 GiB of clusters. Move-only.
/// @see  qemu docs/interop/qcow2.txt
class Qcow2Writer {
public:
  static constexpr std::uint64_t kClusterBytes = 64U << 10;

  /// @param backing_name  at most 1023 bytes; what the header calls the backing file
  static Result<Qcow2Writer> create(const std::filesystem::path& path, std::uint64_t size_bytes,
                                    const std::string& backing_name);
  Qcow2Writer(Qcow2Writer&& other) noexcept = default;
  Qcow2Writer& operator=(Qcow2Writer&&) = delete;
  ~Qcow2Writer();

  /// The guest's cluster `index` holds `bytes`, a whole cluster. `index` ascends from call to call.
  Result<void> add(std::uint64_t index, std::span<const std::byte> bytes);
  Result<void> finish();

private:
  Qcow2Writer(std::filesystem::path path, UniqueFd file, std::uint64_t size_bytes, std::string backing_name);
  Result<void> write(std::uint64_t position, std::span<const std::byte> bytes);
  Result<void> write_table();

  std::filesystem::path path_;
  UniqueFd file_;  ///< empty once finished
  std::uint64_t size_bytes_;
  std::string backing_name_;
  std::vector<std::uint64_t> l1_;  ///< big-endian, as in the file
  std::vector<std::uint64_t> l2_;  ///< the table being filled; empty: none
  std::uint64_t l2_index_ = 0;
  std::uint64_t next_cluster_;
};

}  // namespace nanobox
