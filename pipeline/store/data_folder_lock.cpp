#include "pipeline/store/data_folder_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

namespace nanobox {

Result<DataFolderLock> DataFolderLock::take(const std::filesystem::path& data) {
  const bool is_new = !std::filesystem::exists(data);
  std::error_code made;
  std::filesystem::create_directories(data, made);
  if (made) return fail(errno_error(made.value(), "make data folder", data));
  if (is_new && ::chmod(data.c_str(), 0700) != 0) return fail(errno_error(errno, "make data folder", data));

  const auto file = data / "lock";
  UniqueFd lock{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!lock) return fail(errno_error(errno, "lock data folder", file));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail(errno_error(errno, "lock data folder", file));
    char pid[32];
    const auto length = ::pread(lock.get(), pid, sizeof pid, 0);
    const std::string holder =
        length > 1 ? " (pid " + std::string(pid, static_cast<std::size_t>(length) - 1) + ")" : "";
    return fail({.code = ErrorCode::data_folder_locked,
                 .attempted = "lock data folder",
                 .subject = data,
                 .reason = "another nanoboxd" + holder + " is using it",
                 .mend = "end that one, or give this one another folder with NANOBOX_DATA"});
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock.get(), 0) != 0 ||
      ::pwrite(lock.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size()))
    return fail(errno_error(errno, "lock data folder", file));
  return DataFolderLock(std::move(lock));
}

}  // namespace nanobox
