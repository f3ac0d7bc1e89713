#include "pipeline/cluster/identity/private_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "config/unique_fd.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kLongest = std::size_t{64} << 10;

Result<void> write_all(int fd, std::string_view bytes, const std::filesystem::path& file) {
  while (!bytes.empty()) {
    const auto count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fail(errno_error(count < 0 ? errno : ENOSPC, "write", file));
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

tl::unexpected<Error> unreadable(const std::filesystem::path& file, std::string reason, std::string mend) {
  return fail({.code = ErrorCode::file_unreadable,
               .attempted = "read",
               .subject = file,
               .reason = std::move(reason),
               .mend = std::move(mend)});
}

/// Unlinked, unless it got its name.
class HalfFile {
public:
  explicit HalfFile(std::filesystem::path path) : path_(std::move(path)) {}
  HalfFile(const HalfFile&) = delete;
  HalfFile& operator=(const HalfFile&) = delete;
  ~HalfFile() {
    if (!named_) ::unlink(path_.c_str());
  }
  const std::filesystem::path& path() const { return path_; }
  bool rename_to(const std::filesystem::path& file) { return named_ = ::rename(path_.c_str(), file.c_str()) == 0; }

private:
  std::filesystem::path path_;
  bool named_ = false;
};

}  // namespace

Result<void> make_private_folder(const std::filesystem::path& folder) {
  std::error_code made;
  std::filesystem::create_directories(folder.parent_path(), made);
  if (made) return fail(errno_error(made.value(), "make folder", folder.parent_path()));
  if ((::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) || ::chmod(folder.c_str(), 0700) != 0)
    return fail(errno_error(errno, "make folder", folder));
  return {};
}

Result<void> flush_folder(const std::filesystem::path& folder) {
  const UniqueFd open(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!open || ::fsync(open.get()) != 0) return fail(errno_error(errno, "flush folder", folder));
  return {};
}

Result<void> write_private_file(const std::filesystem::path& file, std::string_view bytes) {
  std::string name = file.string() + ".XXXXXX";
  const UniqueFd open(::mkostemp(name.data(), O_CLOEXEC));  // 0600
  if (!open) return fail(errno_error(errno, "write", file));
  HalfFile half(name);
  NANOBOX_TRY(write_all(open.get(), bytes, file));
  if (::fsync(open.get()) != 0 || !half.rename_to(file)) return fail(errno_error(errno, "write", file));
  return flush_folder(file.parent_path());
}

Result<std::optional<std::string>> read_private_file(const std::filesystem::path& file) {
  const UniqueFd open(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!open && errno == ENOENT) return std::nullopt;
  if (!open) return fail(errno_error(errno, "read", file));
  struct stat status {};
  if (::fstat(open.get(), &status) != 0) return fail(errno_error(errno, "read", file));
  if (!S_ISREG(status.st_mode)) return unreadable(file, "it is no regular file", "");
  if ((status.st_mode & 077) != 0)
    return unreadable(file, "others than its owner may read it",
                      "check who has read it, then: chmod 600 " + file.string());
  std::string bytes(kLongest + 1, '\0');
  std::size_t size = 0;
  while (size < bytes.size()) {
    const auto count = ::read(open.get(), bytes.data() + size, bytes.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno_error(errno, "read", file));
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  if (size > kLongest) return unreadable(file, "it is longer than 64 KiB", "");
  bytes.resize(size);
  return bytes;
}

}  // namespace nanobox
