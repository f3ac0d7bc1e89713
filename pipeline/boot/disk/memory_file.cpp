#include "pipeline/boot/disk/memory_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "config/unique_fd.hpp"

namespace nanobox {

Result<void> create_memory_file(const std::filesystem::path& path, std::uint64_t megabytes) {
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return fail(errno_error(errno, "make memory file", path.string()));
  if (::ftruncate(file.get(), static_cast<off_t>(megabytes << 20)) != 0) {
    const int number = errno;
    ::unlink(path.c_str());
    return fail(errno_error(number, "size memory file", path.string()));
  }
  return {};
}

}  // namespace nanobox
