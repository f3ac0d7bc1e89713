#include "pipeline/boot/disk/overlay.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "config/unique_fd.hpp"
#include "pipeline/boot/disk/qcow2.hpp"
#include "pipeline/boot/disk/qcow2_reader.hpp"
#include "pipeline/warmup/rootfs/ext4/growth.hpp"

namespace nanobox {

namespace {

constexpr std::uint64_t kBlocksPerCluster = qcow2::kClusterBytes / ext4::kBlockBytes;

/// The base's bytes, zeros behind its end.
Result<void> read_base(int base, std::uint64_t position, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const auto got = ::pread(base, bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error(errno, "read root file system", ""));
    if (got == 0) break;
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    position += static_cast<std::uint64_t>(got);
  }
  std::memset(bytes.data(), 0, bytes.size());
  return {};
}

}  // namespace

Result<void> create_overlay(const std::filesystem::path& path, const std::filesystem::path& base,
                            std::uint64_t size_bytes, const std::string& backing_name) {
  const UniqueFd base_file(::open(base.c_str(), O_RDONLY | O_CLOEXEC));
  if (!base_file) return fail(errno_error(errno, "open root file system", base.string(), ErrorCode::file_unreadable));
  auto growth = ext4::plan_growth(base_file.get(), size_bytes);
  if (!growth) {
    auto error = std::move(growth).error();
    error.subject = base.string();
    return fail(std::move(error));
  }
  auto overlay =
      NANOBOX_TRY(Qcow2Writer::create(path, {.size_bytes = size_bytes / ext4::kBlockBytes * ext4::kBlockBytes,
                                             .backing_name = backing_name.empty() ? base.string() : backing_name}));
  std::vector<std::byte> cluster(qcow2::kClusterBytes);
  for (auto at = growth->blocks.begin(); at != growth->blocks.end();) {
    const auto index = at->first / kBlocksPerCluster;
    NANOBOX_TRY(read_base(base_file.get(), index * qcow2::kClusterBytes, cluster));
    for (; at != growth->blocks.end() && at->first / kBlocksPerCluster == index; ++at)
      std::memcpy(cluster.data() + at->first % kBlocksPerCluster * ext4::kBlockBytes, at->second->data(),
                  ext4::kBlockBytes);
    NANOBOX_TRY(overlay.add(index, cluster));
  }
  return overlay.finish();
}

Result<void> create_empty_overlay(const std::filesystem::path& path, std::uint64_t size_bytes,
                                  const std::string& backing_name, const std::string& backing_format) {
  auto overlay = NANOBOX_TRY(Qcow2Writer::create(
      path, {.size_bytes = size_bytes, .backing_name = backing_name, .backing_format = backing_format}));
  return overlay.finish();
}

Result<std::uint64_t> overlay_size(const std::filesystem::path& path) {
  return NANOBOX_TRY(Qcow2Reader::open(path)).size_bytes();
}

}  // namespace nanobox
