#pragma once

#include <filesystem>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// Holds DATA for this process: an flock on DATA/lock, which the kernel drops when the process ends however it ends.
/// The descriptor is close-on-exec; a child that forks without exec must close it.
class DataFolderLock {
public:
  /// Makes `data` (0700 where it is new) and takes the lock; never waits.
  /// @errors data_folder_locked: another process has it (the reason names its pid) · io_failed
  static Result<DataFolderLock> take(const std::filesystem::path& data);

private:
  explicit DataFolderLock(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;
};

}  // namespace nanobox
