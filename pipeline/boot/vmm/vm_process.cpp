#include "pipeline/boot/vmm/vm_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <set>
#include <sstream>

#include "config/child_process.hpp"
#include "pipeline/boot/vmm/vm_parent/launch.hpp"
#include "pipeline/boot/vmm/vm_parent/passed_fds.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

constexpr auto launch_patience = std::chrono::seconds{30};
/// What a program reserves without touching it (stacks, heaps); RLIMIT_DATA counts that, a cgroup does not.
constexpr std::uint64_t reserved_bytes = 256U << 20;
constexpr int highest_target = 255;

bool readable_within(int fd, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd polled{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&polled, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
}

/// A record of at most 64 KiB; links are not followed.
std::optional<std::string> read_record(const fs::path& path) {
  const UniqueFd file{::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)};
  if (!file) return std::nullopt;
  std::string text(64U << 10, '\0');
  const ssize_t count = ::pread(file.get(), text.data(), text.size(), 0);
  if (count < 0) return std::nullopt;
  text.resize(static_cast<std::size_t>(count));
  return text;
}

tl::unexpected<Error> invalid(std::string subject, std::string reason) {
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "start the VMM",
               .subject = std::move(subject),
               .reason = std::move(reason),
               .mend = ""});
}

Result<void> check_root(const std::vector<RootEntry>& root, bool own_root) {
  std::set<fs::path> targets;
  for (const auto& entry : root) {
    const auto& target = entry.target;
    const bool plain = target.is_absolute() && target.lexically_normal() == target && target.has_filename();
    if (!plain) return invalid(target.string(), "a target is an absolute path without . and ..");
    if (!targets.insert(target).second) return invalid(target.string(), "two entries have the same target");
    if (entry.kind != RootEntry::Kind::symlink && !entry.source.is_absolute())
      return invalid(entry.source.string(), "a source is an absolute path");
    if (!own_root && (entry.kind == RootEntry::Kind::symlink || entry.source != target))
      return fail({.code = ErrorCode::host_unsuitable,
                   .attempted = "start the VMM",
                   .subject = target.string(),
                   .reason = "this host allows no root of its own, so the VMM sees the host's paths only",
                   .mend = "run nanoboxd as root, or allow user namespaces"});
  }
  for (const auto& target : targets)
    for (auto above = target.parent_path(); above.has_relative_path(); above = above.parent_path())
      if (targets.contains(above)) return invalid(target.string(), "it lies below another entry, " + above.string());
  return {};
}

Result<void> check(const ConfinementHost& host, const VmProcessSpec& spec) {
  const bool full = host.report.level == ConfinementLevel::full;
  if (!spec.program.is_absolute()) return invalid(spec.program.string(), "the program is an absolute path");
  if (spec.argv.empty()) return invalid("argv", "it holds at least argv[0]");
  if (full && (spec.uid == 0 || spec.gid == 0)) return invalid("uid", "a VMM never runs as root");
  if (spec.network_namespace >= 0 && !full)
    return fail({.code = ErrorCode::host_unsuitable,
                 .attempted = "join the VM's network namespace",
                 .subject = spec.name,
                 .reason = "nanoboxd does not run as root",
                 .mend = "run nanoboxd as root"});
  std::set<int> targets;
  for (const auto& descriptor : spec.descriptors)
    if (descriptor.target < 3 || descriptor.target > highest_target || !targets.insert(descriptor.target).second)
      return invalid("descriptor " + std::to_string(descriptor.target), "targets are 3 to 255, each once");
  const auto has_nul = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  if (std::any_of(spec.argv.begin(), spec.argv.end(), has_nul) ||
      std::any_of(spec.env.begin(), spec.env.end(), has_nul))
    return invalid("argv", "a string holds a zero byte");
  return check_root(spec.root, host.report.level != ConfinementLevel::minimal);
}

std::vector<Launch::Limit> resource_limits(const Launch& launch, const VmLimits& limits, const CgroupSupport& cgroups) {
  std::vector<Launch::Limit> result{{RLIMIT_CORE, 0}};
  if (limits.max_files != 0) result.push_back({RLIMIT_NOFILE, limits.max_files});
  if (limits.max_file_bytes != 0) result.push_back({RLIMIT_FSIZE, limits.max_file_bytes});
  if (limits.cgroup.memory_bytes != 0 && !cgroups.memory)
    result.push_back({RLIMIT_DATA, limits.cgroup.memory_bytes + reserved_bytes});
  // Counts a user's processes, so it says something only about a user (or a user namespace) of the VM's own.
  if (limits.cgroup.max_pids != 0 && !cgroups.pids && (launch.own_user || launch.user_namespace))
    result.push_back({RLIMIT_NPROC, limits.cgroup.max_pids});
  return result;
}

Launch to_launch(const ConfinementHost& host, const VmProcessSpec& spec, const Cgroup& cgroup) {
  const auto level = host.report.level;
  Launch launch;
  launch.name = spec.name;
  launch.program = spec.program.string();
  launch.argv = spec.argv;
  launch.env = spec.env;
  launch.own_namespaces = level != ConfinementLevel::minimal;
  launch.user_namespace = level == ConfinementLevel::user_namespace;
  launch.own_user = ::geteuid() == 0 && !launch.user_namespace;
  launch.uid = spec.uid;
  launch.gid = spec.gid;
  launch.run_dir = fs::absolute(spec.run_dir).string();
  launch.joins_network = spec.network_namespace >= 0;
  launch.limits = resource_limits(launch, spec.limits, host.cgroups.support());
  launch.oom_score_adj = spec.oom_score_adj;
  launch.seccomp = host.seccomp_filter;
  launch.cgroup = cgroup.to_string();
  // Links last: nothing that is made in the root may go through one.
  for (const bool links : {false, true})
    for (const auto& entry : spec.root)
      if ((entry.kind == RootEntry::Kind::symlink) == links)
        launch.root.push_back({.kind = static_cast<std::uint64_t>(entry.kind),
                               .source = entry.source.string(),
                               .target = entry.target.string(),
                               .read_only = entry.read_only});
  return launch;
}

Result<UniqueFd> to_memfd(const std::string& bytes) {
  UniqueFd file{::memfd_create("launch", MFD_CLOEXEC)};
  if (!file) return fail(errno_error(errno, "start", "the VMM"));
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count = ::write(file.get(), bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno != EINTR) return fail(errno_error(errno, "start", "the VMM"));
    if (count > 0) done += static_cast<std::size_t>(count);
  }
  return file;
}

/// What the parent answered, with the pidfds of VMM and parent.
struct Launched {
  LaunchReport report;
  UniqueFd vmm;
  UniqueFd parent;
};

Result<Launched> launch_vmm(const ConfinementHost& host, const VmProcessSpec& spec, const Cgroup& cgroup) {
  Launch launch = to_launch(host, spec, cgroup);
  const UniqueFd run_dir{::open(launch.run_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!run_dir) return fail(errno_error(errno, "open", launch.run_dir));
  for (const char* old : {"exit", "stderr", "identity"}) ::unlinkat(run_dir.get(), old, 0);

  const auto cgroups = NANOBOX_TRY(cgroup.open_entrances());
  launch.cgroup_count = cgroups.size();
  launch.cloned_into_cgroup = cgroup.version() == CgroupVersion::v2;
  for (const auto& descriptor : spec.descriptors) launch.descriptor_targets.push_back(descriptor.target);
  const auto request = NANOBOX_TRY(to_memfd(to_bytes(launch)));
  std::vector<int> passed{request.get(), run_dir.get()};
  if (launch.joins_network) passed.push_back(spec.network_namespace);
  for (const auto& file : cgroups) passed.push_back(file.get());
  for (const auto& descriptor : spec.descriptors) passed.push_back(descriptor.source);

  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return fail(errno_error(errno, "talk to", host.parent_program.string()));
  const UniqueFd ours{ends[0]};
  UniqueFd theirs{ends[1]};
  auto first = ChildProcess::spawn({.program = host.parent_program,
                                    .arguments = {spec.name},
                                    .env = std::vector<std::string>{},
                                    .descriptors = {{.source = theirs.get(), .target = 3}}});
  if (!first) {
    if (first.error().code == ErrorCode::file_unreadable) first.error().code = ErrorCode::vmm_missing;
    return fail(std::move(first).error());
  }
  theirs.reset();
  NANOBOX_TRY(send_packet(ours.get(), "launch", passed));
  // Hanging up makes a parent that is late end its VMM.
  if (!readable_within(ours.get(), launch_patience))
    return fail({.code = ErrorCode::vmm_failed,
                 .attempted = "start the VMM",
                 .subject = spec.name,
                 .reason = "its parent did not answer in time",
                 .mend = "",
                 .transient = true});
  auto answer = NANOBOX_TRY(receive_packet(ours.get()));
  const auto report = NANOBOX_TRY(launch_report_from_bytes(answer.bytes));
  NANOBOX_TRY(first->wait(launch_patience));
  if (answer.descriptors.size() != 2) return fail(launch_report_from_bytes("").error());
  return Launched{report, std::move(answer.descriptors[0]), std::move(answer.descriptors[1])};
}

Error too_short_lived(const fs::path& run_dir) {
  const auto exit = recorded_exit(run_dir);
  std::string how = "it ended at once";
  if (exit && exit->exit_code) how += " with exit code " + std::to_string(*exit->exit_code);
  if (exit && exit->signal) how += " by signal " + std::to_string(*exit->signal);
  return {.code = ErrorCode::vmm_failed, .attempted = "start the VMM", .subject = "", .reason = how, .mend = ""};
}

}  // namespace

VmProcess::VmProcess(VmProcessIdentity identity, UniqueFd vmm, UniqueFd parent, Cgroup cgroup)
    : identity_(std::move(identity)), vmm_(std::move(vmm)), parent_(std::move(parent)), cgroup_(std::move(cgroup)) {}

Result<VmProcess> VmProcess::spawn(const ConfinementHost& host, const VmProcessSpec& spec) {
  NANOBOX_TRY(check(host, spec));
  const auto cgroup = NANOBOX_TRY(host.cgroups.create(spec.name, spec.limits.cgroup));
  auto launched = launch_vmm(host, spec, cgroup);
  if (!launched) {
    (void)cgroup.remove();
    return fail(std::move(launched).error());
  }
  VmProcessIdentity identity;
  identity.cgroup = cgroup.to_string();
  identity.run_dir = fs::absolute(spec.run_dir);
  // The parent noted the start times down while both surely lived; a program may end within microseconds.
  if (const auto recorded = recorded_identity(identity.run_dir);
      recorded && recorded->vmm.pid == launched->report.vmm) {
    identity.vmm = recorded->vmm;
    identity.parent = recorded->parent;
    return VmProcess{std::move(identity), std::move(launched->vmm), std::move(launched->parent), cgroup};
  }
  ::syscall(SYS_pidfd_send_signal, launched->vmm.get(), SIGKILL, nullptr, 0);
  (void)cgroup.remove();
  return fail(too_short_lived(identity.run_dir));
}

Result<VmProcess> VmProcess::adopt(const VmProcessIdentity& identity) {
  auto cgroup = NANOBOX_TRY(Cgroup::from_string(identity.cgroup));
  auto vmm = NANOBOX_TRY(open_process(identity.vmm));
  auto parent = open_process(identity.parent);
  return VmProcess{identity, std::move(vmm), parent ? std::move(*parent) : UniqueFd{}, std::move(cgroup)};
}

bool VmProcess::has_ended() const {
  return readable_within(vmm_.get(), std::chrono::milliseconds{0});
}

VmExitStatus VmProcess::exit_status(std::chrono::milliseconds patience) const {
  if (parent_ && has_ended()) readable_within(parent_.get(), patience);
  // Orphans come to the daemon only where it is their init (a container's first process).
  for (const auto* process : {&vmm_, &parent_}) {
    siginfo_t info{};
    if (*process) ::waitid(P_PIDFD, static_cast<id_t>(process->get()), &info, WEXITED | WNOHANG);
  }
  auto status = recorded_exit(identity_.run_dir).value_or(VmExitStatus{});
  status.oom_kills = std::max(status.oom_kills, cgroup_.oom_kills());
  return status;
}

std::string VmProcess::output() const {
  return recorded_output(identity_.run_dir);
}

void VmProcess::end() {
  ::syscall(SYS_pidfd_send_signal, vmm_.get(), SIGKILL, nullptr, 0);
  (void)cgroup_.kill_all();  // what it could not end, remove_cgroup reports
}

Result<void> VmProcess::remove_cgroup() {
  return cgroup_.remove();
}

std::optional<VmExitStatus> recorded_exit(const fs::path& run_dir) {
  const auto record = read_record(run_dir / "exit");
  if (!record) return std::nullopt;
  std::istringstream words{*record};
  std::string how;
  int number = 0;
  if (!(words >> how >> number)) return std::nullopt;
  VmExitStatus status;
  if (how == "exited")
    status.exit_code = number;
  else if (how == "killed")
    status.signal = number;
  else
    return std::nullopt;
  // A parent of an earlier version does not say what its VMM took.
  std::string word;
  VmSpent spent;
  std::uint64_t oom_kills = 0;
  if (words >> word >> spent.cpu_us >> spent.memory_peak_bytes >> oom_kills && word == "spent") {
    status.spent = spent;
    status.oom_kills = oom_kills;
  }
  return status;
}

std::optional<VmProcessIdentity> recorded_identity(const fs::path& run_dir) {
  const auto record = read_record(run_dir / "identity");
  if (!record) return std::nullopt;
  std::istringstream words{*record};
  VmProcessIdentity identity;
  words >> identity.vmm.boot_id >> identity.vmm.pid >> identity.vmm.start_time_ticks >> identity.parent.pid >>
      identity.parent.start_time_ticks;
  if (!words) return std::nullopt;
  identity.parent.boot_id = identity.vmm.boot_id;
  words.ignore(1);
  std::getline(words, identity.cgroup);
  identity.run_dir = run_dir;
  return identity;
}

std::string recorded_output(const fs::path& run_dir) {
  return read_record(run_dir / "stderr").value_or("");
}

}  // namespace nanobox
