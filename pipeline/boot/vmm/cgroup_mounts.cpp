#include "pipeline/boot/vmm/cgroup_mounts.hpp"

#include <algorithm>

namespace nanobox {

namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
std::string unescape(std::string_view text) {
  std::string result;
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) && octal(text[i + 3])) {
      result += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

}  // namespace

std::vector<CgroupMount> cgroup_mounts(std::string_view mountinfo) {
  std::vector<CgroupMount> mounts;
  for (const auto line : split(mountinfo, '\n')) {
    const auto dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto before = split(line.substr(0, dash), ' ');
    const auto after = split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3 || (after[0] != "cgroup" && after[0] != "cgroup2")) continue;
    CgroupMount mount{.v2 = after[0] == "cgroup2",
                      .controllers = {},
                      .root = unescape(before[3]),
                      .mount_point = unescape(before[4])};
    if (!mount.v2)
      for (const auto option : split(after[2], ',')) mount.controllers.emplace_back(option);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

std::optional<std::filesystem::path> own_cgroup(const CgroupMount& mount, std::string_view proc_cgroup) {
  for (const auto line : split(proc_cgroup, '\n')) {
    const auto first = line.find(':');
    const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const auto controllers = split(line.substr(first + 1, second - first - 1), ',');
    const bool ours = mount.v2 ? line.starts_with("0::")
                               : std::any_of(controllers.begin(), controllers.end(), [&](std::string_view controller) {
                                   return !controller.empty() &&
                                          std::find(mount.controllers.begin(), mount.controllers.end(), controller) !=
                                              mount.controllers.end();
                                 });
    if (!ours) continue;
    const auto relative = std::filesystem::path{line.substr(second + 1)}.lexically_relative(mount.root);
    if (relative.empty() || *relative.begin() == "..") return std::nullopt;
    return relative == "." ? mount.mount_point : mount.mount_point / relative;
  }
  return std::nullopt;
}

}  // namespace nanobox
