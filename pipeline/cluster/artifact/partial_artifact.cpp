#include "pipeline/cluster/artifact/partial_artifact.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>

#include "pipeline/cluster/artifact/byte_codec.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

constexpr std::uint32_t kMagic = 0x5241424E;  // "NBAR"
constexpr const char* kRecord = "verified";

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

Result<void> make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail(errno_error(error.value(), "make folder", path));
  return {};
}

Result<void> sync(int fd, const fs::path& path) {
  if (::fsync(fd) != 0) return fail(errno_error(errno, "sync", path));
  return {};
}

fs::path folder_of(const fs::path& tmp_folder, const std::string& name) {
  return tmp_folder / (name + ".part");
}

UniqueFd open_at(const UniqueFd& folder, const std::string& name, int flags) {
  return UniqueFd(::openat(folder.get(), name.c_str(), flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600));
}

}  // namespace

PartialArtifact::PartialArtifact(fs::path path, UniqueFd folder, ArtifactManifest manifest)
    : path_(std::move(path)),
      folder_(std::move(folder)),
      manifest_(std::move(manifest)),
      chunks_(chunk_table(manifest_)),
      verified_((chunks_.size() + 7) / 8) {}

Result<PartialArtifact> PartialArtifact::open(const fs::path& tmp_folder, const ArtifactManifest& manifest) {
  auto path = folder_of(tmp_folder, manifest.name);
  NANOBOX_TRY(make_folder(path));
  UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!folder) return fail(errno_error(errno, "open", path));
  if (::flock(folder.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail(errno_error(errno, "lock", path));
    return fail({.code = ErrorCode::conflict,
                 .attempted = "fetch artifact",
                 .subject = manifest.name,
                 .reason = "it is being fetched already",
                 .mend = "",
                 .transient = true});
  }
  PartialArtifact partial(std::move(path), std::move(folder), manifest);
  if (!partial.resume()) NANOBOX_TRY(partial.begin_anew());
  NANOBOX_TRY(partial.check_space());
  return partial;
}

std::vector<std::byte> PartialArtifact::record_head() const {
  ByteWriter writer;
  writer.number(kMagic);
  writer.text(boot_id());
  writer.raw(manifest_digest(manifest_));
  for (const auto& file : files_) {
    struct stat status {};
    (void)::fstat(file.get(), &status);
    writer.number(static_cast<std::uint64_t>(status.st_ino));
    writer.number(static_cast<std::uint64_t>(status.st_size));
  }
  return writer.take();
}

bool PartialArtifact::resume() {
  record_ = open_at(folder_, kRecord, 0);
  for (std::size_t i = 0; i < manifest_.files.size(); ++i) {
    files_.push_back(open_at(folder_, std::to_string(i), 0));
    struct stat status {};
    if (!files_.back() || ::fstat(files_.back().get(), &status) != 0 ||
        static_cast<std::uint64_t>(status.st_size) != manifest_.files[i].size)
      return false;
  }
  const auto head = record_head();
  struct stat status {};
  if (!record_ || ::fstat(record_.get(), &status) != 0 ||
      static_cast<std::uint64_t>(status.st_size) != head.size() + verified_.size())
    return false;
  std::vector<std::byte> kept(head.size());
  if (::pread(record_.get(), kept.data(), kept.size(), 0) != static_cast<ssize_t>(kept.size()) || kept != head)
    return false;
  if (::pread(record_.get(), verified_.data(), verified_.size(), static_cast<off_t>(head.size())) !=
      static_cast<ssize_t>(verified_.size()))
    return false;
  record_head_bytes_ = head.size();
  for (std::size_t i = 0; i < chunks_.size(); ++i)
    if (has(i)) verified_bytes_ += chunks_[i].bytes;
  return true;
}

Result<void> PartialArtifact::begin_anew() {
  std::error_code error;
  // The record goes first, or half a removal could be taken for a whole artifact.
  fs::remove(path_ / kRecord, error);
  for (fs::directory_iterator at(path_, error), end; !error && at != end; at.increment(error))
    fs::remove_all(at->path(), error);
  if (error) return fail(errno_error(error.value(), "empty", path_));
  files_.clear();
  std::ranges::fill(verified_, std::uint8_t{0});
  verified_bytes_ = 0;
  for (std::size_t i = 0; i < manifest_.files.size(); ++i) {
    files_.push_back(open_at(folder_, std::to_string(i), O_CREAT | O_EXCL));
    if (!files_.back() || ::ftruncate(files_.back().get(), static_cast<off_t>(manifest_.files[i].size)) != 0)
      return fail(errno_error(errno, "make", path_ / std::to_string(i)));
  }
  auto record = record_head();
  record_head_bytes_ = record.size();
  record.resize(record.size() + verified_.size());
  const std::string half = std::string(kRecord) + ".tmp";
  record_ = open_at(folder_, half, O_CREAT | O_EXCL);
  if (!record_) return fail(errno_error(errno, "make", path_ / half));
  const auto written = ::pwrite(record_.get(), record.data(), record.size(), 0);
  if (written != static_cast<ssize_t>(record.size()))
    return fail(errno_error(written < 0 ? errno : ENOSPC, "write", path_ / half));
  if (::renameat(folder_.get(), half.c_str(), folder_.get(), kRecord) != 0)
    return fail(errno_error(errno, "make", path_ / kRecord));
  return {};
}

Result<void> PartialArtifact::check_space() const {
  struct statvfs room {};
  if (::fstatvfs(folder_.get(), &room) != 0) return fail(errno_error(errno, "read the free space of", path_));
  if (room.f_bavail * room.f_frsize < data_bytes(manifest_) - verified_bytes_)
    return fail(errno_error(ENOSPC, "fetch artifact", manifest_.name));
  return {};
}

Result<void> PartialArtifact::write(std::size_t index, std::span<const std::byte> data) const {
  const auto& chunk = chunks_[index];
  const auto& file = manifest_.files[chunk.file];
  if (data.size() != chunk.bytes || chunk_digest(data) != file.digests[chunk.digest])
    return fail({.code = ErrorCode::digest_mismatch,
                 .attempted = "fetch artifact " + manifest_.name,
                 .subject = name_of(manifest_, chunk),
                 .reason = "what the node sent is not what its manifest says",
                 .mend = "fetch it from another node"});
  return write_chunk(files_[chunk.file].get(), file, chunk, data.data());
}

Result<void> PartialArtifact::mark(std::size_t index) {
  auto& bits = verified_[index / 8];
  bits = static_cast<std::uint8_t>(bits | 1U << (index % 8));
  if (::pwrite(record_.get(), &bits, 1, static_cast<off_t>(record_head_bytes_ + index / 8)) != 1)
    return fail(errno_error(errno, "write", path_ / kRecord));
  verified_bytes_ += chunks_[index].bytes;
  return {};
}

Result<void> PartialArtifact::publish(const fs::path& destination, const std::vector<std::string>& order,
                                      bool durable) {
  NANOBOX_TRY(make_folder(destination));
  const UniqueFd folder(::open(destination.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return fail(errno_error(errno, "open", destination));
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (::fchmod(files_[i].get(), manifest_.files[i].mode) != 0)
      return fail(errno_error(errno, "set the mode of", path_ / std::to_string(i)));
    if (durable) NANOBOX_TRY(sync(files_[i].get(), path_ / std::to_string(i)));
  }
  for (const auto& name : order) {
    const auto at = std::ranges::find(manifest_.files, name, &ArtifactFile::name) - manifest_.files.begin();
    // The one that completes the artifact must not be there before the others are.
    if (durable && &name == &order.back()) NANOBOX_TRY(sync(folder.get(), destination));
    if (::renameat(folder_.get(), std::to_string(at).c_str(), folder.get(), name.c_str()) != 0)
      return fail(errno_error(errno, "publish", destination / name));
  }
  if (durable) NANOBOX_TRY(sync(folder.get(), destination));
  std::error_code ignored;
  fs::remove_all(path_, ignored);
  return {};
}

void discard_partial_artifact(const fs::path& tmp_folder, const std::string& name) {
  std::error_code ignored;
  if (is_artifact_name(name)) fs::remove_all(folder_of(tmp_folder, name), ignored);
}

}  // namespace nanobox
