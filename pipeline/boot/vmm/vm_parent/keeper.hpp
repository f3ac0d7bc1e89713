#pragma once

#include <string>
#include <string_view>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// Writes a small file into a folder under its final name only when complete. What is in the way is not followed.
Result<void> write_record(int folder, const char* name, std::string_view content);

/// Copies a VMM's words to the file `stderr`: the first 16 KiB at once, the last 16 KiB at its end, never more.
class BoundedLog {
public:
  BoundedLog(UniqueFd pipe, int folder);
  const UniqueFd& pipe() const { return pipe_; }
  /// Takes what is in the pipe now; false once nobody can write to it any more.
  bool take();
  /// Adds the kept tail to the file.
  void finish();

private:
  void append(std::string_view bytes);

  UniqueFd pipe_;
  UniqueFd file_;
  std::size_t head_bytes_ = 0;
  std::uint64_t dropped_bytes_ = 0;
  std::string tail_;
};

/// Waits for the end of the child held by `pidfd`, feeding the log, and records it, with what the child had taken, as
/// `exit` in the folder. @param cgroup  the child's, as Cgroup::to_string
void keep_until_exit(const UniqueFd& pidfd, BoundedLog& log, int folder, std::string_view cgroup);

}  // namespace nanobox
