#include "actors/vm_remains.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "pipeline/json_record.hpp"

namespace nanobox {

namespace {

constexpr const char* kRemainsFile = "remains";
constexpr std::size_t kRemainsMax = std::size_t{256} << 10;

}  // namespace

template <class F, FieldsOf<VmSpent> T>
void fields(F& f, T& x) {
  auto& [cpu_us, memory_peak_bytes] = x;
  f("cpu_us", cpu_us), f("memory_peak_bytes", memory_peak_bytes);
}

/// Why it ended is of no interest: it was for the pause.
template <class F, FieldsOf<VmRemains> T>
void fields(F& f, T& x) {
  auto& [cause, reason, console, spent, disk_bytes] = x;
  f("console", console), f("spent", spent), f("disk_bytes", disk_bytes);
}

std::uint64_t disk_bytes_of(const std::filesystem::path& file) {
  struct stat known {};
  return ::stat(file.c_str(), &known) == 0 ? static_cast<std::uint64_t>(known.st_blocks) * 512 : 0;
}

Result<void> write_remains(const std::filesystem::path& saved_state, const VmRemains& remains) {
  std::error_code error;
  if (!std::filesystem::is_directory(saved_state, error)) return {};
  const auto path = saved_state / kRemainsFile;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << write_fields(remains);
  file.close();
  if (!file) return fail(errno_error(errno, "write", path));
  return {};
}

VmRemains read_remains(const std::filesystem::path& saved_state) {
  if (saved_state.empty()) return {};
  std::ifstream file(saved_state / kRemainsFile, std::ios::binary);
  std::string text(kRemainsMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return read_fields<VmRemains>(text).value_or(VmRemains{});
}

VmSpent together(const VmSpent& before, const VmSpent& after) {
  return {.cpu_us = before.cpu_us + after.cpu_us,
          .memory_peak_bytes = std::max(before.memory_peak_bytes, after.memory_peak_bytes)};
}

}  // namespace nanobox
