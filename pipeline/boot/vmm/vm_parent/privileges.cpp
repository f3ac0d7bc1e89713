#include "pipeline/boot/vmm/vm_parent/privileges.hpp"

#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace nanobox {

namespace {

Error failure(std::string attempted, std::string subject) {
  return errno_error(errno, std::move(attempted), std::move(subject), ErrorCode::vmm_failed);
}

}  // namespace

Result<void> drop_privileges(const Launch& launch) {
  // Without CAP_SETPCAP (a daemon that is not root, without namespaces) there is nothing to take from the set.
  for (unsigned long capability = 0; ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; ++capability) {
  }
  const bool full = launch.own_user || launch.user_namespace;
  if (full && errno != EINVAL) return fail(failure("drop", "capabilities"));
  const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
                             SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  if (full && ::prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) != 0) return fail(failure("lock", "securebits"));
  if (launch.own_user) {
    if (::setgroups(0, nullptr) != 0) return fail(failure("leave", "supplementary groups"));
    if (::setresgid(launch.gid, launch.gid, launch.gid) != 0)
      return fail(failure("become group", std::to_string(launch.gid)));
    if (::setresuid(launch.uid, launch.uid, launch.uid) != 0)
      return fail(failure("become user", std::to_string(launch.uid)));
  }
  drop_capabilities();
  return {};
}

void drop_capabilities() {
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct none[2]{};
  ::syscall(SYS_capset, &header, none);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

Result<void> install_seccomp(std::string_view filter) {
  std::vector<sock_filter> code(filter.size() / sizeof(sock_filter));
  std::memcpy(code.data(), filter.data(), code.size() * sizeof(sock_filter));
  sock_fprog program{.len = static_cast<unsigned short>(code.size()), .filter = code.data()};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
    return fail(failure("install", "the seccomp filter"));
  return {};
}

}  // namespace nanobox
