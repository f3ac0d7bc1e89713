#include "pipeline/boot/vmm/memory_check.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "config/whole_number.hpp"

namespace nanobox {

namespace {

std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const auto word = line.substr(0, line.find(' '));
  line.remove_prefix(word.size());
  return word;
}

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

std::optional<MappedRange> parse_mapped_range(std::string_view line) {
  MappedRange range;
  const auto addresses = next_word(line);
  const auto dash = addresses.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto begin = whole_number<std::uint64_t>(addresses.substr(0, dash), 16);
  const auto end = whole_number<std::uint64_t>(addresses.substr(dash + 1), 16);
  if (!begin || !end || *end < *begin) return std::nullopt;
  range.begin = *begin;
  range.end = *end;
  const auto rights = next_word(line);
  if (rights.size() != 4) return std::nullopt;
  range.readable = rights[0] == 'r';
  range.writable = rights[1] == 'w';
  range.is_private = rights[3] == 'p';
  next_word(line);  // offset
  next_word(line);  // device: that of a file on an overlay differs from stat's
  const auto inode = whole_number<std::uint64_t>(next_word(line));
  if (!inode) return std::nullopt;
  range.inode = *inode;
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  range.path = line;
  return range;
}

std::string find_shared_memory(std::string_view maps, std::uint64_t inode, std::uint64_t memory_bytes) {
  std::uint64_t run_begin = 0, run_end = 0, longest = 0;
  while (!maps.empty()) {
    const auto line = maps.substr(0, maps.find('\n'));
    maps.remove_prefix(std::min(line.size() + 1, maps.size()));
    const auto range = parse_mapped_range(line);
    if (!range) return "a line of its maps cannot be read: " + std::string(line);
    if (!range->is_private && (range->inode == inode || range->end - range->begin == memory_bytes))
      return "its memory is mapped shared: " + std::string(line);
    if (!range->is_private || !range->readable || !range->writable) continue;
    if (range->begin != run_end) run_begin = range->begin;
    run_end = range->end;
    longest = std::max(longest, run_end - run_begin);
  }
  if (longest < memory_bytes) return "no private memory of the guest's size is mapped";
  return "";
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
