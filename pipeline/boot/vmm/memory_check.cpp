#include "pipeline/boot/vmm/memory_check.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>
#include <optional>
#include <sstream>

#include "config/whole_number.hpp"

namespace nanobox {

namespace {

Error unsafe(pid_t vmm, std::string reason) {
  return {.code = ErrorCode::vmm_failed,
          .attempted = "check the guest's memory",
          .subject = "process " + std::to_string(vmm),
          .reason = std::move(reason),
          .mend = "report it: the VMM was ended, nothing was written"};
}

Result<std::string> read_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) return fail(errno_error(errno, "read", path, ErrorCode::vmm_failed));
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

// The octal "flags:" of /proc/PID/fdinfo/N.
std::optional<std::uint64_t> open_flags(const std::filesystem::path& fdinfo) {
  std::ifstream file(fdinfo);
  for (std::string key, value; file >> key >> value;) {
    if (key == "flags:") return whole_number<std::uint64_t>(value, 8);
  }
  return std::nullopt;
}

}  // namespace

std::string find_shared_memory(std::string_view maps, std::uint64_t inode, std::uint64_t memory_bytes) {
  const auto ranges = parse_mapped_ranges(maps);
  if (!ranges) return ranges.error().reason;
  for (const auto& range : *ranges)
    if (!range.is_private && (range.inode == inode || range.end - range.begin == memory_bytes))
      return "its memory is mapped shared: " + std::string(range.line);
  for (const auto& region : find_private_regions(*ranges))
    if (region.end() - region.begin() >= memory_bytes) return "";
  return "no private memory of the guest's size is mapped";
}

Result<void> check_private_memory(pid_t vmm, const std::filesystem::path& memory_file, std::uint64_t memory_bytes) {
  struct stat file {};
  if (stat(memory_file.c_str(), &file) != 0) return fail(errno_error(errno, "look at", memory_file));
  const std::filesystem::path proc = "/proc/" + std::to_string(vmm);

  const auto maps = NANOBOX_TRY(read_text(proc / "maps"));
  auto reason = find_shared_memory(maps, file.st_ino, memory_bytes);
  if (!reason.empty()) return fail(unsafe(vmm, std::move(reason)));
  if (maps.find("/private_memory.so") == std::string::npos) return fail(unsafe(vmm, "private_memory.so is not loaded"));

  std::error_code error;
  for (const auto& descriptor : std::filesystem::directory_iterator(proc / "fd", error)) {
    struct stat open_file {};
    if (stat(descriptor.path().c_str(), &open_file) != 0 || open_file.st_dev != file.st_dev ||
        open_file.st_ino != file.st_ino)
      continue;
    const auto flags = open_flags(proc / "fdinfo" / descriptor.path().filename());
    if (!flags || (*flags & O_ACCMODE) != O_RDONLY)
      return fail(unsafe(vmm, "it holds a writable descriptor of its memory file"));
  }
  if (error) return fail(errno_error(error.value(), "read", proc / "fd", ErrorCode::vmm_failed));
  return {};
}

}  // namespace nanobox
