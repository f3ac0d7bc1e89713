#include "pipeline/warmup/rootfs/half_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <utility>

#include "config/id.hpp"

namespace nanobox {

Result<HalfFile> HalfFile::create(const std::filesystem::path& folder) {
  const auto half_made = folder / ".tmp";
  std::error_code error;
  std::filesystem::create_directories(half_made, error);
  if (error) return fail(errno_error(error.value(), "make folder", half_made.string()));
  const auto path = half_made / make_id("half");
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd) return fail(errno_error(errno, "make file", path.string()));
  return HalfFile(folder, path, std::move(fd));
}

HalfFile::HalfFile(HalfFile&& other) noexcept
    : folder_(std::move(other.folder_)), path_(std::exchange(other.path_, {})), fd_(std::move(other.fd_)) {}

HalfFile& HalfFile::operator=(HalfFile&& other) noexcept {
  if (this != &other) {
    remove();
    folder_ = std::move(other.folder_);
    path_ = std::exchange(other.path_, {});
    fd_ = std::move(other.fd_);
  }
  return *this;
}

HalfFile::~HalfFile() {
  remove();
}

void HalfFile::remove() noexcept {
  if (!path_.empty()) ::unlink(path_.c_str());
  path_.clear();
}

Error HalfFile::named(Error error) const {
  if (error.subject.empty()) error.subject = folder_.string();
  return error;
}

Result<void> HalfFile::publish(const std::string& name) {
  const auto final_path = folder_ / name;
  if (::fsync(fd_.get()) != 0) return fail(errno_error(errno, "write to disk", path_.string()));
  if (::rename(path_.c_str(), final_path.c_str()) != 0)
    return fail(errno_error(errno, "rename to", final_path.string()));
  path_.clear();
  return {};
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail(errno_error(errno, "write folder to disk", folder.string()));
  return {};
}

}  // namespace nanobox
