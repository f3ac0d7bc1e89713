#include "pipeline/boot/vmm/confinement.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>

#include "pipeline/boot/vmm/confinement_seccomp.hpp"
#include "pipeline/boot/vmm/vm_process.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

constexpr uid_t probe_user = 65534;

/// A folder that goes with its object.
class ScratchFolder {
public:
  static Result<ScratchFolder> make() {
    std::string path = (fs::temp_directory_path() / "nanobox-probe-XXXXXX").string();
    if (!::mkdtemp(path.data())) return fail(errno_error(errno, "make a folder", path));
    return ScratchFolder{path};
  }
  ScratchFolder(ScratchFolder&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

private:
  explicit ScratchFolder(fs::path path) : path_(std::move(path)) {}
  fs::path path_;
};

Result<fs::path> find_parent_program() {
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const auto& place : {folder / "nanobox-vm-parent", folder / "../libexec/nanobox/nanobox-vm-parent"})
    if (::access(place.c_str(), X_OK) == 0) return fs::canonical(place, error);
  return fail({.code = ErrorCode::vmm_missing,
               .attempted = "find",
               .subject = "nanobox-vm-parent",
               .reason = "it is neither in " + folder.string() + " nor in ../libexec/nanobox",
               .mend = "install it beside nanoboxd"});
}

/// Whether a program starts and ends well at this level.
Result<void> try_level(ConfinementHost host, ConfinementLevel level) {
  const auto folder = NANOBOX_TRY(ScratchFolder::make());
  host.report.level = level;
  host.cgroups = CgroupHome::without("");
  VmProcessSpec spec;
  spec.name = "probe";
  spec.program = host.parent_program;
  spec.argv = {host.parent_program.string(), "--probe"};
  spec.root = {{.kind = RootEntry::Kind::file, .source = host.parent_program, .target = host.parent_program}};
  spec.uid = spec.gid = probe_user;
  spec.run_dir = folder.path();
  auto process = NANOBOX_TRY(VmProcess::spawn(host, spec));
  pollfd ended{.fd = process.exit_fd(), .events = POLLIN, .revents = 0};
  ::poll(&ended, 1, 10'000);
  const auto status = process.exit_status();
  if (status.exit_code == 0) return {};
  process.end();
  return fail({.code = ErrorCode::host_unsuitable,
               .attempted = "start",
               .subject = "a confined process",
               .reason = "it did not end as it should have",
               .mend = ""});
}

void add_gaps(ConfinementReport& report, const std::string& reason) {
  const bool root = ::geteuid() == 0;
  if (report.level != ConfinementLevel::full && !root)
    report.gaps.push_back(
        {"own uid", "nanoboxd does not run as root, so every VMM has its user", "run nanoboxd as root"});
  if (report.level == ConfinementLevel::user_namespace && !root)
    report.gaps.push_back({"no supplementary groups", "an ordinary user cannot give them up", "run nanoboxd as root"});
  if (report.level == ConfinementLevel::minimal) {
    report.gaps.push_back({"own namespaces", reason, root ? "give nanoboxd CAP_SYS_ADMIN" : "allow user namespaces"});
    report.gaps.push_back({"own root", reason, root ? "give nanoboxd CAP_SYS_ADMIN" : "allow user namespaces"});
    if (!root)
      report.gaps.push_back({"empty capability bounding set",
                             "an ordinary user cannot change it (no_new_privs makes it "
                             "harmless)",
                             "run nanoboxd as root"});
  }
  const struct {
    bool held;
    const char *what, *instead;
  } limits[] = {
      {report.cgroups.memory, "memory limit by cgroup", "RLIMIT_DATA holds instead, which counts reservations"},
      {report.cgroups.cpu, "cpu limit", "there is no other way to hold it"},
      {report.cgroups.pids, "process limit by cgroup", "RLIMIT_NPROC holds instead"}};
  for (const auto& limit : limits) {
    if (limit.held) continue;
    std::string why = limit.instead;
    for (const auto& each : report.cgroups.reasons) why += "; " + each;
    report.gaps.push_back({limit.what, why, "run nanoboxd as a service with Delegate=yes"});
  }
}

}  // namespace

std::string_view to_string(ConfinementLevel level) {
  switch (level) {
    case ConfinementLevel::full:
      return "full";
    case ConfinementLevel::user_namespace:
      return "user_namespace";
    case ConfinementLevel::minimal:
      return "minimal";
  }
  return "minimal";
}

Result<ConfinementHost> ConfinementHost::detect(const fs::path& data_folder, const fs::path& parent_program) {
  ConfinementHost host{.parent_program = parent_program,
                       .cgroups = CgroupHome::detect(data_folder),
                       .report = {},
                       .seccomp_filter = NANOBOX_TRY(confinement_seccomp_filter())};
  if (host.parent_program.empty()) host.parent_program = NANOBOX_TRY(find_parent_program());
  if (::access(host.parent_program.c_str(), X_OK) != 0)
    return fail(errno_error(errno, "run", host.parent_program.string(), ErrorCode::vmm_missing));
  host.parent_program = fs::absolute(host.parent_program);
  host.report.cgroups = host.cgroups.support();

  const auto wanted = ::geteuid() == 0 ? ConfinementLevel::full : ConfinementLevel::user_namespace;
  const auto tried = try_level(host, wanted);
  host.report.level = tried ? wanted : ConfinementLevel::minimal;
  const std::string reason = tried ? "" : describe(tried.error());
  if (!tried) NANOBOX_TRY(try_level(host, ConfinementLevel::minimal));
  add_gaps(host.report, reason);
  return host;
}

}  // namespace nanobox
