#include "tests/pipeline/boot/vmm/confine_escape.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

int out = -1;

/// `result` is a system call's; keeps its errno.
void tried(const std::string& name, long result) {
  const int number = result < 0 ? errno : 0;
  ::dprintf(out, "%s %d\n", name.c_str(), number);
}

/// What kills counts as refused with the number of the signal.
template <class Do>
void tried_in_child(const std::string& name, Do action) {
  const pid_t pid = static_cast<pid_t>(::fork());
  if (pid == 0) ::_exit(action() < 0 ? errno : 0);
  int status = 0;
  ::waitpid(pid, &status, 0);
  ::dprintf(out, "%s %d\n", name.c_str(), WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

void reach_file(const std::string& path) {
  tried("read:" + path, ::open(path.c_str(), O_RDONLY));
  tried("write:" + path, ::open(path.c_str(), O_WRONLY));
  std::string climbing;
  for (int i = 0; i < 40; ++i) climbing += "../";
  tried("climb:" + path, ::open((climbing + path.substr(1)).c_str(), O_RDONLY));
  tried("climb-from-folder:" + path, ::open(("/work/" + climbing + path.substr(1)).c_str(), O_RDONLY));
  const std::string link = "/work/link";
  ::unlink(link.c_str());
  if (::symlink(path.c_str(), link.c_str()) == 0) tried("follow:" + path, ::open(link.c_str(), O_RDONLY));
  tried("hard-link:" + path, ::link(path.c_str(), "/work/hard"));
}

void reach_process(pid_t pid) {
  const std::string who = std::to_string(pid);
  tried("kill:" + who, ::kill(pid, 0));
  tried("term:" + who, ::kill(pid, SIGTERM));
  tried("pidfd:" + who, ::syscall(SYS_pidfd_open, pid, 0));
  tried("ptrace:" + who, ::ptrace(PTRACE_ATTACH, pid, nullptr, nullptr));
  char byte = 0;
  iovec local{&byte, 1}, remote{reinterpret_cast<void*>(&byte), 1};
  tried("read-memory:" + who, ::process_vm_readv(pid, &local, 1, &remote, 1, 0));
  tried("write-memory:" + who, ::process_vm_writev(pid, &local, 1, &remote, 1, 0));
  tried("priority:" + who, ::setpriority(PRIO_PROCESS, static_cast<id_t>(pid), 19));
  tried("limits:" + who, ::prlimit(pid, RLIMIT_NOFILE, nullptr, nullptr));
  tried("proc:" + who, ::open(("/proc/" + who + "/root").c_str(), O_RDONLY));
}

void reach_socket(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data() + 1, name.size() - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  tried("connect:" + name, ::connect(fd, reinterpret_cast<sockaddr*>(&address), length));
}

void mounts() {
  tried("mount-proc", ::mount("proc", "/work", "proc", 0, nullptr));
  tried("mount-tmpfs", ::mount("tmpfs", "/work", "tmpfs", 0, nullptr));
  tried("bind", ::mount("/", "/work", nullptr, MS_BIND, nullptr));
  tried("remount-rw", ::mount(nullptr, "/", nullptr, MS_REMOUNT, nullptr));
  tried("umount", ::umount2("/work", MNT_DETACH));
  tried("open-tree", ::syscall(SYS_open_tree, -1, "/", 1));
  tried("fsopen", ::syscall(SYS_fsopen, "proc", 0));
  tried("pivot-root", ::syscall(SYS_pivot_root, "/work", "/work"));
  tried("chroot", ::chroot("/work"));
  tried("open-by-handle", ::syscall(SYS_open_by_handle_at, 0, nullptr, 0));
  tried("device-null", ::mknod("/work/null", S_IFCHR | 0666, makedev(1, 3)));
  tried("device-disk", ::mknod("/work/disk", S_IFBLK | 0666, makedev(254, 0)));
}

void namespaces() {
  tried("unshare-user", ::unshare(CLONE_NEWUSER));
  tried("unshare-mount", ::unshare(CLONE_NEWNS));
  tried_in_child("clone-user", [] { return ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0); });
  tried_in_child("clone-net", [] { return ::syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0); });
  tried("clone3", ::syscall(SYS_clone3, nullptr, 0));
  tried("setns", ::setns(0, 0));
}

void privileges() {
  tried("setuid", ::setuid(0));
  tried("setresgid", ::setresgid(0, 0, 0));
  tried("setgroups", ::setgroups(0, nullptr));
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct all[2] = {{~0U, ~0U, 0}, {~0U, ~0U, 0}};
  tried("capset", ::syscall(SYS_capset, &header, all));
  tried("no-new-privs-off", ::prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
  rlimit more{1U << 20, 1U << 20};
  tried("more-files", ::setrlimit(RLIMIT_NOFILE, &more));
  tried("nicer", ::setpriority(PRIO_PROCESS, 0, -10));
  tried("own-root", ::open("/new", O_CREAT | O_WRONLY, 0600));
  tried("own-program", ::open("/vmm", O_WRONLY));
  const int script = ::open("/work/run", O_CREAT | O_WRONLY | O_TRUNC, 06755);
  if (::write(script, "#!/vmm\n", 7) == 7) ::close(script);
  ::chmod("/work/run", 06755);
  tried_in_child("execute-written", [] {
    char* const none[] = {nullptr};
    return ::execve("/work/run", none, none);
  });
  const int file = ::open("/work/code", O_CREAT | O_RDWR | O_TRUNC, 0700);
  if (::ftruncate(file, 4096) != 0) return;
  void* mapped = ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
  tried("map-written-code", mapped == MAP_FAILED ? -1 : 0);
}

void kernel_surface() {
  tried("bpf", ::syscall(SYS_bpf, 0, nullptr, 0));
  tried("keyctl", ::syscall(SYS_keyctl, 0, 0, 0, 0, 0));
  tried("add-key", ::syscall(SYS_add_key, "user", "k", "v", 1, -4));
  tried("userfaultfd", ::syscall(SYS_userfaultfd, 1));
  tried("io-uring", ::syscall(SYS_io_uring_setup, 1, nullptr));
  tried("perf", ::syscall(SYS_perf_event_open, nullptr, 0, -1, -1, 0));
  tried("init-module", ::syscall(SYS_init_module, nullptr, 0, ""));
  tried("finit-module", ::syscall(SYS_finit_module, 0, "", 0));
  tried("kexec", ::syscall(SYS_kexec_load, 0, 0, nullptr, 0));
  tried("reboot", ::syscall(SYS_reboot, 0, 0, 0, nullptr));
  tried("swapon", ::syscall(SYS_swapon, "/work/swap", 0));
  tried("set-clock", ::syscall(SYS_clock_settime, 0, nullptr));
  tried("sethostname", ::sethostname("x", 1));
  tried("personality", ::syscall(SYS_personality, 0x0400000));
  tried("modify-ldt", ::syscall(SYS_modify_ldt, 0, nullptr, 0));
  tried("iopl", ::syscall(SYS_iopl, 3));
  tried("syslog", ::syscall(SYS_syslog, 2, nullptr, 0));
  tried("fanotify", ::syscall(SYS_fanotify_init, 0, 0));
  tried("pidfd-getfd", ::syscall(SYS_pidfd_getfd, 0, 0, 0));
  char x = 'x';
  tried("type-into-terminal", ::ioctl(0, TIOCSTI, &x));
  // With the high half of the request set, as the kernel ignores it.
  tried("type-into-terminal-high", ::syscall(SYS_ioctl, 0, 0x100000000UL | TIOCSTI, &x));
#ifdef __x86_64__
  tried_in_child("32-bit-call", [] {
    long result = 20;  // getpid
    asm volatile("int $0x80" : "+a"(result)::"memory");
    return result > 0 ? 0L : -1L;
  });
  tried_in_child("x32-call", [] { return ::syscall(0x40000000 | SYS_getpid); });
#endif
}

void network() {
  const struct {
    const char* name;
    int family, type;
  } families[] = {{"inet", AF_INET, SOCK_STREAM},  {"inet6", AF_INET6, SOCK_DGRAM},  {"netlink", AF_NETLINK, SOCK_RAW},
                  {"packet", AF_PACKET, SOCK_RAW}, {"vsock", AF_VSOCK, SOCK_STREAM}, {"alg", AF_ALG, SOCK_SEQPACKET},
                  {"bluetooth", 31, SOCK_RAW}};
  for (const auto& family : families)
    tried(std::string{"socket-"} + family.name, ::socket(family.family, family.type, 0));
}

}  // namespace

int try_to_escape(int report_fd, int count, char** arguments) {
  out = report_fd;
  for (int i = 0; i < count; ++i) {
    const std::string target = arguments[i];
    if (target.starts_with('/')) reach_file(target);
    if (target.starts_with('@')) reach_socket(target);
    if (target.starts_with('#')) tried("shared-memory:" + target, ::shmget(std::atoi(target.c_str() + 1), 0, 0));
    if (std::atoi(target.c_str()) > 1) reach_process(std::atoi(target.c_str()));
  }
  for (const char* path :
       {"/proc/self", "/proc/1/root", "/proc/sys/kernel/core_pattern", "/sys/kernel", "/dev/mem", "/dev/kmsg",
        "/dev/shm", "/etc/passwd", "/etc/shadow", "/root", "/tmp", "/run", "/var", "/home"})
    tried(std::string{"look:"} + path, ::open(path, O_RDONLY));
  mounts();
  namespaces();
  privileges();
  kernel_surface();
  network();
  tried("kill-all", ::kill(-1, 0) == 0 ? 0 : -1);
  ::dprintf(out, "parent %d\n", static_cast<int>(::getppid()) == 0 ? EPERM : 0);
  ::dprintf(out, "done 1\n");
  return 0;
}
