// nanobox-vm-parent: makes a confined VMM from a Launch on descriptor 3, lives on with it, and records how it ended.
// Its first process ends at once, so that the one that stays is nobody's child and outlives the daemon.

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "config/unique_fd.hpp"
#include "pipeline/boot/vmm/proc_identity.hpp"
#include "pipeline/boot/vmm/vm_parent/confined.hpp"
#include "pipeline/boot/vmm/vm_parent/keeper.hpp"
#include "pipeline/boot/vmm/vm_parent/launch.hpp"
#include "pipeline/boot/vmm/vm_parent/passed_fds.hpp"
#include "pipeline/boot/vmm/vm_parent/privileges.hpp"

using namespace nanobox;

namespace {

Error failure(std::string attempted, std::string subject) {
  return errno_error(errno, std::move(attempted), std::move(subject), ErrorCode::vmm_failed);
}

struct Request {
  Launch launch;
  UniqueFd run_dir;
  UniqueFd network;
  std::vector<UniqueFd> cgroups;
  std::vector<UniqueFd> inherited;
};

Result<std::string> read_file(int fd) {
  std::string content;
  char buffer[4096];
  for (;;) {
    const ssize_t count = ::pread(fd, buffer, sizeof buffer, static_cast<off_t>(content.size()));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(failure("read", "the launch"));
    if (count == 0) return content;
    content.append(buffer, static_cast<std::size_t>(count));
  }
}

Result<Request> receive_request(int socket) {
  auto packet = NANOBOX_TRY(receive_packet(socket));
  auto& fds = packet.descriptors;
  const Error malformed{.code = ErrorCode::vmm_failed,
                        .attempted = "start the VMM",
                        .subject = "",
                        .reason = "nanobox-vm-parent was sent a launch it does not understand",
                        .mend = "install nanobox-vm-parent of the same build as nanoboxd"};
  if (fds.size() < 2) return fail(malformed);
  auto launch = launch_from_bytes(NANOBOX_TRY(read_file(fds[0].get())));
  if (!launch) return fail(malformed);
  const std::size_t network = launch->joins_network ? 1 : 0;
  if (fds.size() != 2 + network + launch->cgroup_count + launch->descriptor_targets.size()) return fail(malformed);
  Request request{
      .launch = std::move(*launch), .run_dir = std::move(fds[1]), .network = {}, .cgroups = {}, .inherited = {}};
  auto next = fds.begin() + 2;
  if (network != 0) request.network = std::move(*next++);
  for (std::uint64_t i = 0; i < request.launch.cgroup_count; ++i) request.cgroups.push_back(std::move(*next++));
  for (; next != fds.end(); ++next) request.inherited.push_back(std::move(*next));
  return request;
}

Result<void> write_map(pid_t pid, const char* name, const std::string& content) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  if (!file || ::write(file.get(), content.data(), content.size()) < 0) return fail(failure("write", path));
  return {};
}

/// The daemon's own ids are the only ones an ordinary user may map.
Result<void> map_user(pid_t pid) {
  const std::string uid = std::to_string(::geteuid()), gid = std::to_string(::getegid());
  NANOBOX_TRY(write_map(pid, "setgroups", "deny"));
  NANOBOX_TRY(write_map(pid, "uid_map", uid + " " + uid + " 1"));
  return write_map(pid, "gid_map", gid + " " + gid + " 1");
}

Result<void> record_identity(const Request& request, pid_t vmm) {
  const auto child = NANOBOX_TRY(identify(vmm));
  const auto self = NANOBOX_TRY(identify(::getpid()));
  return write_record(request.run_dir.get(), "identity",
                      child.boot_id + "\n" + std::to_string(child.pid) + " " + std::to_string(child.start_time_ticks) +
                          "\n" + std::to_string(self.pid) + " " + std::to_string(self.start_time_ticks) + "\n" +
                          request.launch.cgroup + "\n");
}

struct Started {
  pid_t pid = 0;
  UniqueFd pidfd;
  UniqueFd log;
};

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(failure("make", "a pipe"));
  return Pipe{UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

std::uint64_t clone_flags(const Launch& launch) {
  std::uint64_t flags = CLONE_PIDFD;
  if (launch.user_namespace) flags |= CLONE_NEWUSER;
  if (launch.own_namespaces) flags |= CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  if (launch.own_namespaces && !launch.joins_network) flags |= CLONE_NEWNET;
  return flags;
}

/// Returns once the program was exec'ed.
Result<Started> start(const Request& request) {
  auto log = NANOBOX_TRY(make_pipe());
  auto go = NANOBOX_TRY(make_pipe());
  auto failed = NANOBOX_TRY(make_pipe());
  int pidfd = -1;
  clone_args arguments{};
  arguments.flags = clone_flags(request.launch);
  arguments.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  if (request.launch.cloned_into_cgroup && !request.cgroups.empty()) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<std::uint64_t>(request.cgroups.front().get());
  }
  const pid_t pid = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  if (pid < 0) {
    Error error = failure("make", "namespaces for the VMM");
    error.code = ErrorCode::host_unsuitable;
    return fail(std::move(error));
  }
  if (pid == 0) {
    go.write.reset();
    become_confined(request.launch, {.network = request.network.get(),
                                     .cgroups = request.cgroups,
                                     .inherited = request.inherited,
                                     .log = log.write.get(),
                                     .go = go.read.get(),
                                     .failure = failed.write.get()});
  }
  Started started{.pid = pid, .pidfd = UniqueFd{pidfd}, .log = std::move(log.read)};
  failed.write.reset();
  go.read.reset();
  if (request.launch.user_namespace) NANOBOX_TRY(map_user(pid));
  NANOBOX_TRY(record_identity(request, pid));
  if (::write(go.write.get(), "g", 1) != 1) return fail(failure("start", request.launch.program));
  char buffer[4096];
  ssize_t count = 0;
  while ((count = ::read(failed.read.get(), buffer, sizeof buffer)) < 0 && errno == EINTR) {
  }
  if (count <= 0) return started;
  return fail(launch_report_from_bytes({buffer, static_cast<std::size_t>(count)}).error());
}

/// Tells the daemon; false when it is not there any more.
bool report(int socket, const Started& started) {
  const UniqueFd self{static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))};
  const int descriptors[] = {started.pidfd.get(), self.get()};
  const std::string bytes = to_bytes(Result<LaunchReport>{LaunchReport{started.pid, ::getpid()}});
  return self && send_packet(socket, bytes, descriptors).has_value();
}

int keep(UniqueFd socket) {
  ::setsid();
  ::signal(SIGPIPE, SIG_IGN);
  if (::chdir("/") != 0) return 1;
  auto request = receive_request(socket.get());
  if (!request) {
    (void)send_packet(socket.get(), to_bytes(request.error()), {});
    return 1;
  }
  auto started = start(*request);
  if (!started) {
    (void)send_packet(socket.get(), to_bytes(started.error()), {});
    return 1;
  }
  // A daemon that died in between asked for nothing any more.
  if (!report(socket.get(), *started)) ::syscall(SYS_pidfd_send_signal, started->pidfd.get(), SIGKILL, nullptr, 0);
  socket.reset();
  request->network.reset();
  request->cgroups.clear();
  request->inherited.clear();
  drop_capabilities();
  BoundedLog log{std::move(started->log), request->run_dir.get()};
  keep_until_exit(started->pidfd, log, request->run_dir.get(), request->launch.cgroup);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 2 && std::string_view{arguments[1]} == "--probe") return 0;  // plays the VMM for ConfinementHost::detect
  ::close_range(4, ~0U, 0);
  UniqueFd socket{3};
  ::fcntl(socket.get(), F_SETFD, FD_CLOEXEC);
  const pid_t keeper = ::fork();
  if (keeper < 0) (void)send_packet(socket.get(), to_bytes(failure("start", "the VMM's parent")), {});
  if (keeper != 0) return keeper < 0 ? 1 : 0;
  return keep(std::move(socket));
}
