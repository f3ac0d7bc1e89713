#include "pipeline/boot/vmm/cgroup.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <set>
#include <thread>

#include "pipeline/boot/vmm/cgroup_mounts.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view mark_prefix = "nanobox-";
/// The leaf a daemon lives in with v2; every data folder's daemon in one cgroup shares it.
constexpr std::string_view daemon_leaf = "nanobox-daemon";
constexpr int deepest_search = 16;
constexpr std::uint64_t cpu_period_us = 100'000;

std::string read_text(const fs::path& path) {
  const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  std::string text;
  char buffer[8192];
  for (ssize_t count = 0; file && (count = ::read(file.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(count));
  return text;
}

Result<void> write_text(const fs::path& path, std::string_view text) {
  const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  if (!file || ::write(file.get(), text.data(), text.size()) < 0) {
    Error error = errno_error(errno, "write '" + std::string{text} + "' to", path.string(), ErrorCode::host_unsuitable);
    return fail(std::move(error));
  }
  return {};
}

std::vector<int> read_members(const fs::path& folder) {
  std::vector<int> pids;
  const std::string text = read_text(folder / "cgroup.procs");
  for (const char* at = text.data(); at < text.data() + text.size();) {
    int pid = 0;
    const auto [end, error] = std::from_chars(at, text.data() + text.size(), pid);
    if (error == std::errc{} && pid > 0) pids.push_back(pid);
    at = end + 1;
  }
  return pids;
}

/// FNV-1a: the same in every build, and short enough for a folder name.
std::string short_hash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  std::string hex(16, '0');
  for (auto& digit : hex) {
    digit = "0123456789abcdef"[hash >> 60];
    hash <<= 4;
  }
  return hex;
}

/// One file to write for a limit; `required` ones must succeed.
struct LimitFile {
  std::string controller, name, value;
  bool required = true;
};

std::vector<LimitFile> limit_files(CgroupVersion version, const CgroupLimits& limits) {
  std::vector<LimitFile> files;
  const std::string memory = std::to_string(limits.memory_bytes);
  const std::string period = std::to_string(cpu_period_us);
  const std::string quota = std::to_string(limits.cpu_percent * (cpu_period_us / 100));
  if (version == CgroupVersion::v2) {
    if (limits.memory_bytes != 0) {
      files.push_back({"memory", "memory.max", memory});
      files.push_back({"memory", "memory.swap.max", "0", false});
      files.push_back({"memory", "memory.oom.group", "1", false});
    }
    if (limits.cpu_percent != 0) files.push_back({"cpu", "cpu.max", quota + " " + period});
  } else if (version == CgroupVersion::v1) {
    if (limits.memory_bytes != 0) {
      files.push_back({"memory", "memory.limit_in_bytes", memory});
      files.push_back({"memory", "memory.memsw.limit_in_bytes", memory, false});
    }
    if (limits.cpu_percent != 0) {
      files.push_back({"cpu", "cpu.cfs_period_us", period});
      files.push_back({"cpu", "cpu.cfs_quota_us", quota});
    }
  }
  if (limits.max_pids != 0) files.push_back({"pids", "pids.max", std::to_string(limits.max_pids)});
  return files;
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

Error conflict_or(int number, const fs::path& folder) {
  if (number == EEXIST)
    return {.code = ErrorCode::conflict,
            .attempted = "make cgroup",
            .subject = folder.string(),
            .reason = "it exists already",
            .mend = ""};
  return errno_error(number, "make cgroup", folder.string(), ErrorCode::host_unsuitable);
}

/// The folders that are called `mark`, not looking below them.
void find_marked(const fs::path& folder, const std::string& mark, int depth, std::vector<fs::path>& found) {
  std::error_code error;
  for (fs::directory_iterator entry{folder, error}, end; !error && entry != end; entry.increment(error)) {
    if (!entry->is_directory(error) || entry->is_symlink(error)) continue;
    if (entry->path().filename() == mark)
      found.push_back(entry->path());
    else if (depth > 0)
      find_marked(entry->path(), mark, depth - 1, found);
  }
}

/// The cgroup that a service manager keeps for VMs, named as in /proc/PID/cgroup.
std::optional<fs::path> kept_for_vms(const CgroupMount& mount) {
  const char* name = std::getenv("NANOBOX_CGROUP");
  const auto folder = name == nullptr ? std::nullopt : own_cgroup(mount, std::string("0::") + name);
  return folder && fs::exists(*folder / "cgroup.procs") ? folder : std::nullopt;
}

void enable_controllers(const fs::path& folder) {
  for (const char* controller : {"+memory", "+cpu", "+pids"})
    (void)write_text(folder / "cgroup.subtree_control", controller);  // what works shows in cgroup.controllers below
}

}  // namespace

std::string_view to_string(CgroupVersion version) {
  switch (version) {
    case CgroupVersion::none:
      return "none";
    case CgroupVersion::v1:
      return "v1";
    case CgroupVersion::v2:
      return "v2";
  }
  return "none";
}

std::string Cgroup::to_string() const {
  if (version_ == CgroupVersion::none) return {};
  std::string text{nanobox::to_string(version_)};
  for (const auto& folder : folders_) text += ":" + folder.string();
  return text;
}

Result<Cgroup> Cgroup::from_string(std::string_view text) {
  const auto invalid = [&](std::string reason) {
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "find cgroup",
                 .subject = std::string{text},
                 .reason = std::move(reason),
                 .mend = ""});
  };
  Cgroup cgroup;
  if (text.empty()) return cgroup;
  if (!text.starts_with("v1:") && !text.starts_with("v2:")) return invalid("it names no version of cgroups");
  cgroup.version_ = text.starts_with("v1:") ? CgroupVersion::v1 : CgroupVersion::v2;
  for (auto rest = text.substr(3); !rest.empty();) {
    const auto end = rest.find(':');
    const fs::path folder{rest.substr(0, end)};
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!folder.is_absolute() || folder.lexically_normal() != folder || !is_name(folder.filename().string()) ||
        !folder.parent_path().filename().string().starts_with(mark_prefix))
      return invalid("a folder of it does not carry our mark");
    cgroup.folders_.push_back(folder);
  }
  if (cgroup.folders_.empty()) return invalid("it names no folder");
  return cgroup;
}

Result<std::vector<UniqueFd>> Cgroup::open_entrances() const {
  std::vector<UniqueFd> entrances;
  for (const auto& folder : folders_) {
    if (version_ == CgroupVersion::v2)
      entrances.emplace_back(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    else
      entrances.emplace_back(::open((folder / "tasks").c_str(), O_WRONLY | O_CLOEXEC));
    if (!entrances.back()) return fail(errno_error(errno, "open cgroup", folder.string()));
  }
  return entrances;
}

std::vector<int> Cgroup::members() const {
  std::set<int> pids;
  for (const auto& folder : folders_) {
    const auto found = read_members(folder);
    pids.insert(found.begin(), found.end());
  }
  return {pids.begin(), pids.end()};
}

Result<void> Cgroup::kill_all() const {
  if (folders_.empty()) return {};
  if (version_ == CgroupVersion::v2 && write_text(folders_.front() / "cgroup.kill", "1")) return {};
  for (const auto& folder : folders_) (void)write_text(folder / "pids.max", "0");  // nothing new appears meanwhile
  std::set<int> killed;
  for (int pass = 0; pass < 64; ++pass) {
    struct Target {
      int pid;
      UniqueFd pidfd;
    };
    std::vector<Target> targets;
    for (const int pid : members())
      if (pid != ::getpid() && !killed.contains(pid))
        targets.push_back({pid, UniqueFd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))}});
    if (targets.empty()) return {};
    // Who is still a member now is who the pidfd names, whatever became of the number before.
    const auto still = members();
    for (const auto& target : targets)
      if (target.pidfd && std::binary_search(still.begin(), still.end(), target.pid)) {
        ::syscall(SYS_pidfd_send_signal, target.pidfd.get(), SIGKILL, nullptr, 0);
        killed.insert(target.pid);
      }
  }
  return fail({.code = ErrorCode::io_failed,
               .attempted = "end the members of cgroup",
               .subject = to_string(),
               .reason = "new ones kept appearing",
               .mend = ""});
}

Result<void> Cgroup::remove(std::chrono::milliseconds patience) const {
  if (version_ == CgroupVersion::none) return {};
  const auto deadline = Clock::now() + patience;
  const auto left = [&] {
    const auto time = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    return static_cast<int>(std::max<std::int64_t>(time, 0));
  };
  NANOBOX_TRY(kill_all());
  for (const int pid : members()) {
    const UniqueFd pidfd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
    pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
    if (pidfd) ::poll(&ended, 1, left());
  }
  for (const auto& folder : folders_) {
    // v1 has no event for "the last member is gone for good", which follows its end within microseconds.
    for (auto pause = std::chrono::microseconds{200}; ::rmdir(folder.c_str()) != 0 && errno != ENOENT;
         pause = std::min(2 * pause, std::chrono::microseconds{20'000})) {
      if (errno != EBUSY || left() == 0) return fail(errno_error(errno, "remove cgroup", folder.string()));
      std::this_thread::sleep_for(pause);
    }
    ::rmdir(folder.parent_path().c_str());  // goes with the last of ours
  }
  return {};
}

std::uint64_t Cgroup::oom_kills() const {
  for (const auto& folder : folders_)
    for (const char* name : {"memory.events", "memory.oom_control"}) {
      const std::string text = "\n" + read_text(folder / name);
      constexpr std::string_view key = "\noom_kill ";
      const auto at = text.find(key);
      if (at == std::string::npos) continue;
      std::uint64_t count = 0;
      std::from_chars(text.data() + at + key.size(), text.data() + text.size(), count);
      return count;
    }
  return 0;
}

CgroupHome CgroupHome::without(std::string reason) {
  CgroupHome home;
  home.support_.reasons.push_back(std::move(reason));
  return home;
}

CgroupHome CgroupHome::detect(const fs::path& data_folder) {
  CgroupHome home;
  std::error_code ignored;
  home.mark_ = std::string{mark_prefix} + short_hash(fs::weakly_canonical(data_folder, ignored).string());
  const auto mounts = cgroup_mounts(read_text("/proc/self/mountinfo"));
  const std::string own = read_text("/proc/self/cgroup");
  for (const auto& mount : mounts) home.mounts_.push_back(mount.mount_point);
  if (!home.settle_v2(mounts, own)) home.settle_v1(mounts, own);
  return home;
}

bool CgroupHome::settle_v2(const std::vector<CgroupMount>& mounts, std::string_view own) {
  const auto mount = std::find_if(mounts.begin(), mounts.end(), [](const CgroupMount& each) { return each.v2; });
  if (mount == mounts.end()) {
    support_.reasons.push_back("cgroup v2 is not mounted");
    return false;
  }
  const auto kept = kept_for_vms(*mount);
  auto base = kept ? kept : own_cgroup(*mount, own);
  if (!base) {
    support_.reasons.push_back("this process' cgroup lies outside of what is mounted on " +
                               mount->mount_point.string());
    return false;
  }
  if (base->filename() == daemon_leaf) base = base->parent_path();
  const std::string available = " " + read_text(*base / "cgroup.controllers") + " ";
  if (available.find("memory") == std::string::npos) {
    support_.reasons.push_back("cgroup v2 has no memory controller in " + base->string());
    return false;
  }
  const bool is_root = !fs::exists(*base / "cgroup.type");
  const fs::path leaf = *base / daemon_leaf;
  // In a cgroup of its own the daemon moves itself alone; in one kept for VMs, whoever keeps it.
  const auto movers = kept ? read_members(*base) : std::vector<int>{::getpid()};
  if (!is_root) {
    ::mkdir(leaf.c_str(), 0755);
    for (const int pid : movers)
      if (auto moved = write_text(leaf / "cgroup.procs", std::to_string(pid)); !moved) {
        ::rmdir(leaf.c_str());
        support_.reasons.push_back("cgroup v2: " + describe(moved.error()));
        return false;
      }
  }
  enable_controllers(*base);
  const fs::path home = *base / mark_;
  ::mkdir(home.c_str(), 0755);
  // By file, not by controller: a kernel may have the cpu controller without bandwidth limits.
  const auto has = [&](const char* limit) { return ::access((home / limit).c_str(), W_OK) == 0; };
  const bool memory = has("memory.max"), cpu = has("cpu.max"), pids = has("pids.max");
  ::rmdir(home.c_str());
  if (!memory) {
    if (!is_root) {
      for (const int pid : movers) (void)write_text(*base / "cgroup.procs", std::to_string(pid));
      ::rmdir(leaf.c_str());
    }
    support_.reasons.push_back("cgroup v2: other processes live in " + base->string() +
                               ", so no limits can be set below it (run nanoboxd as a service with Delegate=yes)");
    return false;
  }
  support_.version = CgroupVersion::v2;
  support_.memory = memory;
  support_.cpu = cpu;
  support_.pids = pids;
  if (!cpu) support_.reasons.push_back("cgroup v2 has no cpu.max below " + base->string());
  if (!pids) support_.reasons.push_back("cgroup v2 has no pids.max below " + base->string());
  bases_ = {*base};
  return true;
}

void CgroupHome::settle_v1(const std::vector<CgroupMount>& mounts, std::string_view own) {
  const auto settle = [&](const std::string& controller, const char* limit) {
    const auto mount = std::find_if(mounts.begin(), mounts.end(), [&](const CgroupMount& each) {
      return std::find(each.controllers.begin(), each.controllers.end(), controller) != each.controllers.end();
    });
    const auto base = mount == mounts.end() ? std::nullopt : own_cgroup(*mount, own);
    if (!base) {
      support_.reasons.push_back("cgroup v1 has no " + controller + " hierarchy here");
      return false;
    }
    const fs::path home = *base / mark_;
    const bool made = ::mkdir(home.c_str(), 0755) == 0;
    const int number = errno;
    if (!made && number != EEXIST) {
      support_.reasons.push_back(describe(conflict_or(number, home)));
      return false;
    }
    const bool writable = ::access((home / limit).c_str(), W_OK) == 0;
    if (made) ::rmdir(home.c_str());
    if (!writable) {
      support_.reasons.push_back("cgroup v1: " + (home / limit).string() + " cannot be written");
      return false;
    }
    if (std::find(bases_.begin(), bases_.end(), *base) == bases_.end()) bases_.push_back(*base);
    return true;
  };
  support_.memory = settle("memory", "memory.limit_in_bytes");
  support_.cpu = settle("cpu", "cpu.cfs_quota_us");
  support_.pids = settle("pids", "pids.max");
  if (!bases_.empty()) support_.version = CgroupVersion::v1;
}

Result<Cgroup> CgroupHome::create(std::string_view name, const CgroupLimits& limits) const {
  if (!is_name(name))
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "make cgroup",
                 .subject = std::string{name},
                 .reason = "a name is 1 to 64 of a-z, 0-9 and -",
                 .mend = ""});
  Cgroup cgroup;
  cgroup.version_ = support_.version;
  const auto undo = [&](Error error) {
    (void)cgroup.remove();
    return fail(std::move(error));
  };
  for (const auto& base : bases_) {
    const fs::path home = base / mark_, folder = home / name;
    int number = ENOENT;
    // The home goes with its last cgroup, perhaps between our two steps.
    for (int attempt = 0; attempt < 8 && number == ENOENT; ++attempt) {
      ::mkdir(home.c_str(), 0755);
      if (support_.version == CgroupVersion::v2) enable_controllers(home);
      number = ::mkdir(folder.c_str(), 0755) == 0 ? 0 : errno;
    }
    if (number != 0) return undo(conflict_or(number, folder));
    cgroup.folders_.push_back(folder);
  }
  for (const auto& file : limit_files(support_.version, limits)) {
    if ((file.controller == "memory" && !support_.memory) || (file.controller == "cpu" && !support_.cpu) ||
        (file.controller == "pids" && !support_.pids))
      continue;
    for (const auto& folder : cgroup.folders_) {
      if (!fs::exists(folder / file.name)) continue;
      auto written = write_text(folder / file.name, file.value);
      if (!written && file.required) return undo(std::move(written).error());
    }
  }
  return cgroup;
}

Result<std::size_t> CgroupHome::remove_leftovers(std::span<const Cgroup> keep) const {
  std::set<fs::path> kept;
  for (const auto& cgroup : keep) kept.insert(cgroup.folders_.begin(), cgroup.folders_.end());
  std::vector<fs::path> homes;
  if (!mark_.empty())
    for (const auto& mount : mounts_) find_marked(mount, mark_, deepest_search, homes);
  std::set<std::string> removed;
  std::optional<Error> first;
  for (const auto& home : homes) {
    std::vector<fs::path> folders;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator{home, ignored})
      if (entry.is_directory(ignored) && !kept.contains(entry.path())) folders.push_back(entry.path());
    for (const auto& folder : folders) {
      Cgroup left;
      left.version_ = CgroupVersion::v1;  // the way that works in both
      left.folders_ = {folder};
      if (auto result = left.remove(); !result)
        first = first.value_or(std::move(result).error());
      else
        removed.insert(folder.filename().string());
    }
    ::rmdir(home.c_str());
  }
  if (first) return fail(*std::move(first));
  return removed.size();
}

}  // namespace nanobox
