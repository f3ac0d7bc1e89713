#include "pipeline/cluster/artifact/scan_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "pipeline/cluster/artifact/limits.hpp"

namespace nanobox {

namespace {

bool is_zero(const std::byte* bytes, std::size_t count) {
  return bytes[0] == std::byte{0} && std::memcmp(bytes, bytes + 1, count - 1) == 0;
}

/// Collects one chunk's data and adds it to the file once the next begins.
class ChunkCollector {
public:
  explicit ChunkCollector(ArtifactFile& file)
      : file_(file), buffer_(std::make_unique_for_overwrite<std::byte[]>(kArtifactChunkBytes)) {}

  /// Reads a stretch that lies in one chunk and begins where no other did.
  Result<void> add(int fd, std::uint64_t offset, std::size_t length) {
    if (const auto number = offset / kArtifactChunkBytes; number != number_) {
      finish();
      number_ = number;
    }
    auto* const begin = buffer_.get() + used_;
    for (std::size_t done = 0; done < length;) {
      const auto count = ::pread(fd, begin + done, length - done, static_cast<off_t>(offset + done));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return fail(errno_error(count < 0 ? errno : EIO, "read", file_.name));
      done += static_cast<std::size_t>(count);
    }
    for (std::size_t at = 0; at < length; at += kArtifactBlockBytes) {
      const auto size = std::min<std::size_t>(kArtifactBlockBytes, length - at);
      if (is_zero(begin + at, size)) continue;
      if (begin + at != buffer_.get() + used_) std::memmove(buffer_.get() + used_, begin + at, size);
      used_ += size;
      auto& extents = file_.extents;
      if (!extents.empty() && extents.back().offset + extents.back().length == offset + at)
        extents.back().length += size;
      else
        extents.push_back({offset + at, size});
    }
    return {};
  }

  void finish() {
    if (used_ != 0) file_.digests.push_back(chunk_digest({buffer_.get(), used_}));
    used_ = 0;
  }

private:
  ArtifactFile& file_;
  const std::unique_ptr<std::byte[]> buffer_;
  std::size_t used_ = 0;
  std::uint64_t number_ = 0;
};

}  // namespace

Result<ArtifactFile> scan_file(int fd, const std::string& name, const std::function<void(std::uint64_t)>& on_scanned) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail(errno_error(errno, "read", name));
  ArtifactFile file{.name = name,
                    .mode = status.st_mode & 0777U,
                    .size = static_cast<std::uint64_t>(status.st_size),
                    .extents = {},
                    .digests = {}};
  if (file.size > kMostArtifactFileBytes) return fail(errno_error(EFBIG, "read", name));
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  ChunkCollector collector(file);
  for (std::uint64_t at = 0; at < file.size;) {
    const auto data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    const auto hole = data < 0 ? data : ::lseek(fd, data, SEEK_HOLE);
    if (hole < 0) return fail(errno_error(errno, "find the data of", name));
    // A file system's blocks may be smaller than ours.
    at = std::max(at, static_cast<std::uint64_t>(data) / kArtifactBlockBytes * kArtifactBlockBytes);
    const auto end = std::min(file.size, (static_cast<std::uint64_t>(hole) + kArtifactBlockBytes - 1) /
                                             kArtifactBlockBytes * kArtifactBlockBytes);
    while (at < end) {
      const auto length = std::min(end, (at / kArtifactChunkBytes + 1) * kArtifactChunkBytes) - at;
      NANOBOX_TRY(collector.add(fd, at, length));
      on_scanned(length);
      at += length;
    }
  }
  collector.finish();
  return file;
}

}  // namespace nanobox
