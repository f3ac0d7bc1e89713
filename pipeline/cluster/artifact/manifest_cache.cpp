#include "pipeline/cluster/artifact/manifest_cache.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "config/id.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/cluster/artifact/byte_codec.hpp"
#include "pipeline/cluster/artifact/limits.hpp"

namespace nanobox {

namespace {

constexpr std::uint32_t kMagic = 0x4341424E;  // "NBAC"

std::vector<std::byte> encode_marks(const std::vector<FileMark>& marks) {
  ByteWriter writer;
  writer.number(kMagic);
  writer.number(static_cast<std::uint16_t>(marks.size()));
  for (const auto& mark : marks)
    for (const auto number : {mark.device, mark.inode, mark.size, mark.changed_ns}) writer.number(number);
  return writer.take();
}

Result<void> write_whole(int fd, std::span<const std::byte> bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const auto count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno_error(errno, "write", path));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

}  // namespace

Result<FileMark> mark_of(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail(errno_error(errno, "read", "file"));
  return FileMark{.device = status.st_dev,
                  .inode = status.st_ino,
                  .size = static_cast<std::uint64_t>(status.st_size),
                  .changed_ns = static_cast<std::uint64_t>(status.st_mtim.tv_sec) * 1'000'000'000U +
                                static_cast<std::uint64_t>(status.st_mtim.tv_nsec)};
}

std::optional<ArtifactManifest> read_cached_manifest(const std::filesystem::path& path,
                                                     const std::vector<FileMark>& marks) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0 || status.st_size < 0 ||
      static_cast<std::uint64_t>(status.st_size) > 2 * kMostManifestBytes)
    return std::nullopt;
  std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
  for (std::size_t done = 0; done < bytes.size();) {
    const auto count = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (count <= 0) return std::nullopt;
    done += static_cast<std::size_t>(count);
  }
  const auto head = encode_marks(marks);
  const auto tail = ChunkDigest{}.size();
  if (bytes.size() < head.size() + tail || !std::equal(head.begin(), head.end(), bytes.begin())) return std::nullopt;
  const std::span content(bytes.data(), bytes.size() - tail);
  if (!std::ranges::equal(chunk_digest(content), std::span(bytes).last(tail))) return std::nullopt;
  auto manifest = decode_manifest(content.subspan(head.size()));
  if (!manifest) return std::nullopt;
  return std::move(*manifest);
}

Result<void> write_cached_manifest(const std::filesystem::path& path, const std::vector<FileMark>& marks,
                                   const ArtifactManifest& manifest) {
  ByteWriter writer;
  writer.raw(encode_marks(marks));
  writer.raw(encode_manifest(manifest));
  auto bytes = writer.take();
  const auto digest = chunk_digest(bytes);
  bytes.insert(bytes.end(), digest.begin(), digest.end());
  const auto half = path.parent_path() / (".tmp-" + make_id("chunks"));
  const UniqueFd file(::open(half.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return fail(errno_error(errno, "make", half));
  auto written = write_whole(file.get(), bytes, half);
  if (written && ::rename(half.c_str(), path.c_str()) != 0) written = fail(errno_error(errno, "make", path));
  if (!written) ::unlink(half.c_str());
  return written;
}

}  // namespace nanobox
