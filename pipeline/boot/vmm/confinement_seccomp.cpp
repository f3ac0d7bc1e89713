#include "pipeline/boot/vmm/confinement_seccomp.hpp"

#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "config/unique_fd.hpp"

namespace nanobox {

namespace {

/// Names, not numbers: libseccomp knows which of them exist where it was built.
constexpr std::string_view refused[] = {
    // file systems and roots
    "mount", "umount2", "umount", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr", "name_to_handle_at", "open_by_handle_at", "quotactl", "quotactl_fd", "swapon", "swapoff",
    "fanotify_init", "lookup_dcookie",
    // namespaces and identity
    "setns", "unshare", "personality", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid",
    "setfsgid", "setgroups", "capset",
    // other processes
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_getfd", "kcmp",
    "migrate_pages", "move_pages",
    // wide kernel surface
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl",
    "add_key", "request_key", "modify_ldt", "iopl", "ioperm", "vhangup", "acct", "syslog", "_sysctl", "nfsservctl",
    // the machine
    "reboot", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module",
    "settimeofday", "stime", "clock_settime", "clock_settime64", "clock_adjtime", "clock_adjtime64", "adjtimex",
    "sethostname", "setdomainname"};

constexpr std::uint64_t namespace_flags =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

/// Adds rules until one fails, whose errno it keeps.
class Filter {
public:
  Filter() : context_(seccomp_init(SCMP_ACT_ALLOW), seccomp_release) { error_ = context_ ? 0 : ENOMEM; }

  template <class... Arguments>
  void refuse(std::string_view name, int number, Arguments... arguments) {
    const int syscall = seccomp_syscall_resolve_name(std::string{name}.c_str());
    if (error_ != 0 || syscall == __NR_SCMP_ERROR) return;  // unknown to this libseccomp: so is it to the VMM
    error_ = -seccomp_rule_add(context_.get(), SCMP_ACT_ERRNO(static_cast<unsigned>(number)), syscall,
                               sizeof...(Arguments), arguments...);
  }

  Result<std::string> to_bytes() {
    if (error_ == 0) error_ = -seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (error_ == 0) error_ = -seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    const UniqueFd file{::memfd_create("seccomp", MFD_CLOEXEC)};
    if (error_ == 0 && !file) error_ = errno;
    if (error_ == 0) error_ = -seccomp_export_bpf(context_.get(), file.get());
    if (error_ != 0) return fail(errno_error(error_, "build", "the seccomp filter", ErrorCode::host_unsuitable));
    std::string bytes(static_cast<std::size_t>(::lseek(file.get(), 0, SEEK_END)), '\0');
    if (::pread(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
      return fail(errno_error(errno, "read", "the seccomp filter", ErrorCode::host_unsuitable));
    return bytes;
  }

private:
  std::unique_ptr<void, decltype(&seccomp_release)> context_;
  int error_ = 0;
};

}  // namespace

Result<std::string> confinement_seccomp_filter() {
  Filter filter;
  for (const auto name : refused) filter.refuse(name, EPERM);
  // Its flags lie in memory, where no filter can look: the C library falls back to clone.
  filter.refuse("clone3", ENOSYS);
  for (std::uint64_t flag = 1; flag <= namespace_flags; flag <<= 1)
    if (flag & namespace_flags) filter.refuse("clone", EPERM, SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
  // Not every family is held by the network namespace (vsock is not), so only Unix sockets are left.
  for (const char* call : {"socket", "socketpair"}) filter.refuse(call, EAFNOSUPPORT, SCMP_A0_32(SCMP_CMP_NE, AF_UNIX));
  for (const std::uint64_t request : {std::uint64_t{TIOCSTI}, std::uint64_t{TIOCLINUX}})
    filter.refuse("ioctl", EPERM, SCMP_A1_32(SCMP_CMP_EQ, request));
  return filter.to_bytes();
}

}  // namespace nanobox
