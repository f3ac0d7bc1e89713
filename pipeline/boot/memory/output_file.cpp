#include "pipeline/boot/memory/output_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

namespace nanobox {

namespace {

constexpr std::uint64_t small_copy_bytes = 64U << 10;
constexpr std::uint64_t buffer_bytes = 256U << 10;
alignas(4096) constexpr std::array<std::byte, 64U << 10> zeros{};

bool means_not_here(int number) {
  return number == EXDEV || number == EINVAL || number == ENOSYS || number == EOPNOTSUPP || number == EPERM;
}

}  // namespace

Result<void> read_at(int file, std::span<std::byte> bytes, std::uint64_t offset, const std::filesystem::path& name) {
  while (!bytes.empty()) {
    const auto count = ::pread(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno_error(errno, "read memory", name));
    if (count == 0)
      return fail({.code = ErrorCode::io_failed,
                   .attempted = "read memory",
                   .subject = name,
                   .reason = "the file was cut",
                   .mend = ""});
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<OutputFile> OutputFile::create(const std::filesystem::path& path) {
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return fail(errno_error(errno, "write memory", path));
  return OutputFile(path, std::move(file));
}

OutputFile::~OutputFile() {
  if (file_) ::unlink(path_.c_str());
}

Error OutputFile::failure(int number) const {
  return errno_error(number, "write memory", path_);
}

Result<void> OutputFile::resize(std::uint64_t bytes) {
  if (::ftruncate(file_.get(), static_cast<off_t>(bytes)) != 0) return fail(failure(errno));
  return {};
}

Result<void> OutputFile::write(std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const auto count = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(failure(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<void> OutputFile::write_zeros(std::uint64_t bytes, std::uint64_t offset) {
  while (bytes > 0) {
    const auto step = std::min<std::uint64_t>(bytes, zeros.size());
    NANOBOX_TRY(write(std::span(zeros).first(step), offset));
    bytes -= step;
    offset += step;
  }
  return {};
}

Result<void> OutputFile::copy(int source, const std::filesystem::path& source_name, std::uint64_t source_offset,
                              std::uint64_t bytes, std::uint64_t offset) {
  while (bytes > small_copy_bytes) {
    auto from = static_cast<off_t>(source_offset), to = static_cast<off_t>(offset);
    const auto count = ::copy_file_range(source, &from, file_.get(), &to, bytes, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && !means_not_here(errno)) return fail(failure(errno));
    if (count <= 0) break;  // by hand, which also tells a file that was cut
    bytes -= static_cast<std::uint64_t>(count);
    source_offset += static_cast<std::uint64_t>(count);
    offset += static_cast<std::uint64_t>(count);
  }
  std::vector<std::byte> buffer(std::min(bytes, buffer_bytes));
  while (bytes > 0) {
    const auto piece = std::span(buffer).first(std::min<std::uint64_t>(bytes, buffer.size()));
    NANOBOX_TRY(read_at(source, piece, source_offset, source_name));
    NANOBOX_TRY(write(piece, offset));
    bytes -= piece.size();
    source_offset += piece.size();
    offset += piece.size();
  }
  return {};
}

Result<void> OutputFile::finish(bool durable) {
  if (::fchmod(file_.get(), 0444) != 0 || (durable && ::fsync(file_.get()) != 0)) return fail(failure(errno));
  // Only some file systems tell of a full disk this late.
  const int closed = ::close(file_.release());
  if (closed != 0 && errno != EINTR) {
    const int number = errno;
    ::unlink(path_.c_str());
    return fail(failure(number));
  }
  return {};
}

}  // namespace nanobox
