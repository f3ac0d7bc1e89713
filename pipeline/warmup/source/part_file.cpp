#include "pipeline/warmup/source/part_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

namespace nanobox {

namespace {

constexpr std::uint64_t kFlushBytes = 8U << 20;
constexpr std::size_t kChunkBytes = 256U << 10;

std::string hex_of(const std::string& digest) {
  return digest.substr(digest.find(':') + 1);
}

}  // namespace

std::filesystem::path blob_path(const std::filesystem::path& folder, const std::string& digest) {
  return folder / "sha256" / hex_of(digest);
}

std::filesystem::path part_path(const std::filesystem::path& folder, const std::string& digest) {
  return folder / ".tmp" / (hex_of(digest) + ".part");
}

PartFile::PartFile(std::filesystem::path folder, std::string digest, std::uint64_t size_bytes, UniqueFd file)
    : part_(part_path(folder, digest)),
      final_(blob_path(folder, digest)),
      digest_(std::move(digest)),
      size_bytes_(size_bytes),
      file_(std::move(file)) {}

Result<PartFile> PartFile::open(const std::filesystem::path& folder, std::string digest, std::uint64_t size_bytes) {
  const auto path = part_path(folder, digest);
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return fail(errno_error(errno, "write blob", path.string()));
  return PartFile(folder, std::move(digest), size_bytes, std::move(file));
}

Result<UniqueFd> PartFile::share() const {
  UniqueFd copy(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail(errno_error(errno, "write blob", part_.string()));
  return copy;
}

Result<void> PartFile::rehash(const StageContext& context, const std::function<void(std::uint64_t)>& seen) {
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) return fail(errno_error(errno, "write blob", part_.string()));
  if (static_cast<std::uint64_t>(status.st_size) > size_bytes_ && ::ftruncate(file_.get(), 0) != 0)
    return fail(errno_error(errno, "write blob", part_.string()));
  std::vector<char> buffer(kChunkBytes);
  while (true) {
    NANOBOX_TRY(context.check("read what is there of the blob"));
    const auto got = ::pread(file_.get(), buffer.data(), buffer.size(), static_cast<off_t>(written_));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error(errno, "read blob", part_.string()));
    if (got == 0) break;
    sha_.update({buffer.data(), static_cast<std::size_t>(got)});
    written_ += static_cast<std::uint64_t>(got);
    seen(written_);
  }
  flushed_ = written_;
  resumed_ = written_ > 0;
  return {};
}

Result<void> PartFile::append(std::string_view bytes) {
  if (bytes.size() > size_bytes_ - written_)
    return fail({.code = ErrorCode::digest_mismatch,
                 .attempted = "fetch blob",
                 .subject = digest_,
                 .reason = "more came than the " + std::to_string(size_bytes_) + " bytes stated",
                 .mend = "the image is damaged: push it again"});
  sha_.update(bytes);
  while (!bytes.empty()) {
    const auto put = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(written_));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail(errno_error(errno, "write blob", part_.string()));
    bytes.remove_prefix(static_cast<std::size_t>(put));
    written_ += static_cast<std::uint64_t>(put);
  }
  if (written_ - flushed_ >= kFlushBytes) {  // so that the final fsync finds little left to do
    ::sync_file_range(file_.get(), static_cast<off_t>(flushed_), static_cast<off_t>(written_ - flushed_),
                      SYNC_FILE_RANGE_WRITE);
    flushed_ = written_;
  }
  return {};
}

Result<void> PartFile::publish() {
  if (written_ != size_bytes_)
    return fail({.code = ErrorCode::blob_truncated,
                 .attempted = "fetch blob",
                 .subject = digest_,
                 .reason = "only " + std::to_string(written_) + " of " + std::to_string(size_bytes_) + " bytes came",
                 .mend = "try again",
                 .transient = true});
  if (const auto actual = sha_.finish(); actual != digest_)
    return fail({.code = ErrorCode::digest_mismatch,
                 .attempted = "fetch blob",
                 .subject = digest_,
                 .reason = "the digest of what came is " + actual,
                 .mend = resumed_ ? "try again: what an earlier download left was damaged"
                                  : "the image is damaged at its source: push it again",
                 .transient = resumed_});
  if (::fsync(file_.get()) != 0 || ::rename(part_.c_str(), final_.c_str()) != 0)
    return fail(errno_error(errno, "write blob", final_.string()));
  const UniqueFd folder(::open(final_.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return fail(errno_error(errno, "write blob", final_.string()));
  return {};
}

bool PartFile::empty() const {
  struct stat status {};
  return ::fstat(file_.get(), &status) == 0 && status.st_size == 0;
}

void PartFile::discard() {
  ::unlink(part_.c_str());
}

}  // namespace nanobox
