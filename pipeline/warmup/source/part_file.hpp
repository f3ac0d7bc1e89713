#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "config/sha256.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/stage_context.hpp"

namespace nanobox {

/// A blob being written: `<folder>/.tmp/<hex>.part`, hashed as it grows, renamed to `<folder>/sha256/<hex>` when whole
/// and right. What a former try or process left is gone on with. One writer at a time.
class PartFile {
public:
  /// Opens or makes the part; `fd` is read by others too. Reads nothing yet. @errors io_failed · disk_full
  static Result<PartFile> open(const std::filesystem::path& folder, std::string digest, std::uint64_t size_bytes);

  /// A second descriptor of the same open file. @errors io_failed
  Result<UniqueFd> share() const;
  std::uint64_t written() const { return written_; }
  /// Whether the file holds nothing, now or from before.
  bool empty() const;
  /// Whether bytes of an earlier process or try are among what is written.
  bool resumed() const { return resumed_; }

  /// Hashes what is there already. @param seen  told the count as it grows
  Result<void> rehash(const StageContext& context, const std::function<void(std::uint64_t)>& seen);
  /// @errors disk_full · io_failed · digest_mismatch (more than the size stated)
  Result<void> append(std::string_view bytes);
  /// Checks size and digest, makes it durable and gives it its final name. @errors digest_mismatch · blob_truncated ·
  /// io_failed · disk_full
  Result<void> publish();
  /// Removes it.
  void discard();

private:
  PartFile(std::filesystem::path folder, std::string digest, std::uint64_t size_bytes, UniqueFd file);

  std::filesystem::path part_, final_;
  std::string digest_;
  std::uint64_t size_bytes_ = 0;
  UniqueFd file_;
  Sha256 sha_;
  std::uint64_t written_ = 0;
  std::uint64_t flushed_ = 0;
  bool resumed_ = false;
};

/// Where a blob is in the cache's folder. `digest` is "sha256:<hex>".
std::filesystem::path blob_path(const std::filesystem::path& folder, const std::string& digest);
std::filesystem::path part_path(const std::filesystem::path& folder, const std::string& digest);

}  // namespace nanobox
