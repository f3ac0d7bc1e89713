#include "tools/nanobox/whole_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace nanobox::cli {
namespace {

namespace fs = std::filesystem;

/// Where writing to `path` ends up: links are followed, the last part need not be there.
fs::path destination(const fs::path& path) {
  std::error_code ignored;
  const auto resolved = fs::weakly_canonical(path, ignored);
  return ignored || resolved.empty() ? path : resolved;
}

/// Who may not write into a folder of their own cannot empty it either.
void open_up(const fs::path& folder) {
  std::error_code ignored;
  fs::permissions(folder, fs::perms::owner_all, fs::perm_options::add, ignored);
  for (auto entry = fs::directory_iterator(folder, ignored); !ignored && entry != fs::directory_iterator();
       entry.increment(ignored))
    if (std::error_code skipped; entry->is_directory(skipped) && !entry->is_symlink(skipped)) open_up(entry->path());
}

}  // namespace

Result<WholeFile> WholeFile::create(const fs::path& path) {
  const auto target = destination(path);
  struct stat there {};
  if (::stat(target.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
    UniqueFd file{::open(target.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY)};
    if (!file) return fail(errno_error(errno, "write", path));
    return WholeFile(std::move(file), target, {});
  }
  const auto folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  std::string unfinished = folder / ".nanobox-XXXXXX";
  UniqueFd file{::mkostemp(unfinished.data(), O_CLOEXEC)};
  if (!file) {
    auto error = errno_error(errno, "write", path);
    if (errno == ENOENT) error.mend = "make the folder " + folder.string() + " first";
    return fail(std::move(error));
  }
  return WholeFile(std::move(file), target, std::move(unfinished));
}

WholeFile::~WholeFile() {
  if (file_ && !unfinished_.empty()) ::unlink(unfinished_.c_str());
}

Result<void> WholeFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(file_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(errno_error(errno, "write", path_));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> WholeFile::commit(unsigned mode, std::optional<timespec> mtime) {
  if (unfinished_.empty()) return {};
  const timespec times[] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, mtime.value_or(timespec{0, UTIME_OMIT})};
  if (::fchmod(file_.get(), mode & 0777) != 0 || ::futimens(file_.get(), times) != 0 ||
      ::rename(unfinished_.c_str(), path_.c_str()) != 0)
    return fail(errno_error(errno, "write", path_));
  file_.reset();
  return {};
}

Result<UnfinishedFolder> UnfinishedFolder::create(const fs::path& folder) {
  std::string path = folder / ".nanobox-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    auto error = errno_error(errno, "write into", folder);
    if (errno == ENOENT) error.mend = "make the folder first";
    return fail(std::move(error));
  }
  return UnfinishedFolder(std::move(path));
}

UnfinishedFolder::~UnfinishedFolder() {
  if (path_.empty()) return;
  open_up(path_);
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace nanobox::cli
