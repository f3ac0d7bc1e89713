#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// Reads exactly `bytes` at `offset`. @errors io_failed, also where the file ends before
Result<void> read_at(int file, std::span<std::byte> bytes, std::uint64_t offset, const std::filesystem::path& name);

/// A new file that is removed again unless it was finished. Move-only.
class OutputFile {
public:
  /// @param path  must not exist. @errors disk_full · io_failed
  static Result<OutputFile> create(const std::filesystem::path& path);
  OutputFile(OutputFile&& other) noexcept = default;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  int fd() const noexcept { return file_.get(); }
  /// Sets the size; what was not written is a hole.
  Result<void> resize(std::uint64_t bytes);
  Result<void> write(std::span<const std::byte> bytes, std::uint64_t offset);
  /// Explicit zeros, no hole.
  Result<void> write_zeros(std::uint64_t bytes, std::uint64_t offset);
  /// Copies within the kernel where that works and is worth a call of its own.
  /// @errors disk_full · io_failed (also where the source ends before)
  Result<void> copy(int source, const std::filesystem::path& source_name, std::uint64_t source_offset,
                    std::uint64_t bytes, std::uint64_t offset);
  /// Closes it, read-only for everybody, and keeps it. @param durable  written through to the device (the file, not
  /// its name in the folder)
  Result<void> finish(bool durable);

private:
  OutputFile(std::filesystem::path path, UniqueFd file) : path_(std::move(path)), file_(std::move(file)) {}
  Error failure(int number) const;

  std::filesystem::path path_;
  UniqueFd file_;  ///< none: finished, or moved from
};

}  // namespace nanobox
