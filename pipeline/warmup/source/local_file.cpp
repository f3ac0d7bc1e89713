#include "pipeline/warmup/source/local_file.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace nanobox {

namespace {

constexpr std::size_t kChunkBytes = 256U << 10;

Result<UniqueFd> open_beneath(int folder, const std::string& relative, std::uint64_t flags, const std::string& name) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  UniqueFd file(static_cast<int>(::syscall(SYS_openat2, folder, relative.c_str(), &how, sizeof how)));
  if (file) return file;
  const int number = errno;
  auto error = errno_error(number, "open image", name, ErrorCode::file_unreadable);
  if (number == ENOENT || number == ENOTDIR) error.code = ErrorCode::image_not_found;
  if (number == EXDEV || number == ELOOP) {
    error.code = ErrorCode::image_source_forbidden;
    error.reason = "a symlink leads out of its folder";
  }
  return fail(std::move(error));
}

Result<void> require_regular(const UniqueFd& file, const std::string& name) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0)
    return fail(errno_error(errno, "open image", name, ErrorCode::file_unreadable));
  if (S_ISREG(status.st_mode)) return {};
  return fail({.code = ErrorCode::file_unreadable,
               .attempted = "open image",
               .subject = name,
               .reason = "it is no regular file",
               .mend = ""});
}

bool is_below(const std::filesystem::path& path, const std::filesystem::path& root) {
  return std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first == root.end();
}

tl::unexpected<Error> forbidden(const std::filesystem::path& path, bool any_roots) {
  return fail({.code = ErrorCode::image_source_forbidden,
               .attempted = "open image",
               .subject = path.string(),
               .reason = any_roots ? "it is not below any of [oci] local_roots" : "[oci] local_roots names no folder",
               .mend = "add its folder to [oci] local_roots, or move the image"});
}

}  // namespace

Result<UniqueFd> open_below(const std::vector<std::filesystem::path>& roots, const std::filesystem::path& path,
                            bool folder) {
  std::error_code problem;
  const auto real = std::filesystem::weakly_canonical(path, problem);
  if (problem) return forbidden(path, !roots.empty());
  for (const auto& root : roots) {
    auto real_root = std::filesystem::canonical(root, problem);
    if (problem || !is_below(real, real_root)) continue;
    const UniqueFd root_fd(::open(real_root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root_fd) continue;
    const auto relative = real.lexically_relative(real_root).string();
    const std::uint64_t flags = folder ? O_RDONLY | O_DIRECTORY : O_RDONLY | O_NONBLOCK | O_NOCTTY;
    auto opened = NANOBOX_TRY(open_beneath(root_fd.get(), relative, flags, path.string()));
    if (!folder) NANOBOX_TRY(require_regular(opened, path.string()));
    return opened;
  }
  return forbidden(path, !roots.empty());
}

Result<UniqueFd> open_inside(const UniqueFd& folder, const std::string& relative) {
  auto file = NANOBOX_TRY(open_beneath(folder.get(), relative, O_RDONLY | O_NONBLOCK | O_NOCTTY, relative));
  NANOBOX_TRY(require_regular(file, relative));
  return file;
}

Result<std::string> read_all(const UniqueFd& file, const std::string& name, std::uint64_t max_bytes) {
  std::string text;
  NANOBOX_TRY(read_to({}, file, name, 0, [&](std::string_view bytes) -> Result<void> {
    if (text.size() + bytes.size() > max_bytes)
      return fail({.code = ErrorCode::file_unreadable,
                   .attempted = "read file",
                   .subject = name,
                   .reason = "it is larger than " + std::to_string(max_bytes) + " bytes",
                   .mend = ""});
    text += bytes;
    return {};
  }));
  return text;
}

Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) return fail(errno_error(errno, "read file", path.string(), ErrorCode::file_unreadable));
  NANOBOX_TRY(require_regular(file, path.string()));
  return read_all(file, path.string(), max_bytes);
}

Result<void> read_to(const StageContext& context, const UniqueFd& file, const std::string& name, std::uint64_t offset,
                     const BlobSink& sink) {
  std::vector<char> buffer(kChunkBytes);
  while (true) {
    NANOBOX_TRY(context.check("read " + name));
    const auto got = ::pread(file.get(), buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error(errno, "read file", name, ErrorCode::file_unreadable));
    if (got == 0) return {};
    NANOBOX_TRY(sink({buffer.data(), static_cast<std::size_t>(got)}));
    offset += static_cast<std::uint64_t>(got);
  }
}

}  // namespace nanobox
