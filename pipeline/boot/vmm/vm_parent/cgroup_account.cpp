#include "pipeline/boot/vmm/vm_parent/cgroup_account.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "config/unique_fd.hpp"

namespace nanobox {

namespace {

std::string read_small(const std::string& path) {
  const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  char buffer[4096];
  const ssize_t count = file ? ::read(file.get(), buffer, sizeof buffer) : 0;
  return {buffer, static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
}

std::uint64_t number_in(std::string_view text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::uint64_t oom_kills_in(const std::string& events) {
  constexpr std::string_view key = "\noom_kill ";
  const auto text = "\n" + events;
  const auto at = text.find(key);
  return at == std::string::npos ? 0 : number_in(std::string_view(text).substr(at + key.size()));
}

}  // namespace

CgroupAccount account_of(std::string_view cgroup) {
  CgroupAccount account;
  for (auto rest = cgroup; !rest.empty();) {
    const auto folder = std::string(rest.substr(0, rest.find(':')));
    rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
    if (!folder.starts_with('/')) continue;  // its version
    for (const char* peak : {"/memory.peak", "/memory.max_usage_in_bytes"})
      account.memory_peak_bytes = std::max(account.memory_peak_bytes, number_in(read_small(folder + peak)));
    for (const char* events : {"/memory.events", "/memory.oom_control"})
      account.oom_kills = std::max(account.oom_kills, oom_kills_in(read_small(folder + events)));
  }
  return account;
}

}  // namespace nanobox
