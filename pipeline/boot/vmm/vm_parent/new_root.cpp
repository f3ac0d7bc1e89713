#include "pipeline/boot/vmm/vm_parent/new_root.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "config/unique_fd.hpp"
#include "pipeline/boot/vmm/root_entry.hpp"

namespace nanobox {

namespace {

Error failure(std::string attempted, std::string subject) {
  return errno_error(errno, std::move(attempted), std::move(subject), ErrorCode::vmm_failed);
}

Result<UniqueFd> make_tmpfs() {
  UniqueFd context{::fsopen("tmpfs", FSOPEN_CLOEXEC)};
  if (!context) return fail(failure("make the VMM's root", "tmpfs"));
  // Mount points and links only: content lives behind the binds.
  const char* const options[][2] = {{"mode", "0755"}, {"size", "256k"}, {"nr_inodes", "2048"}};
  for (const auto& [key, value] : options)
    if (::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value, 0) != 0)
      return fail(failure("make the VMM's root", key));
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return fail(failure("make the VMM's root", "tmpfs"));
  UniqueFd mounted{::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)};
  if (!mounted) return fail(failure("make the VMM's root", "tmpfs"));
  return mounted;
}

bool is_kind(mode_t mode, RootEntry::Kind kind) {
  switch (kind) {
    case RootEntry::Kind::file:
      return !S_ISDIR(mode) && !S_ISLNK(mode) && !S_ISCHR(mode) && !S_ISBLK(mode);
    case RootEntry::Kind::folder:
      return S_ISDIR(mode);
    case RootEntry::Kind::device:
      return S_ISCHR(mode) || S_ISBLK(mode);
    case RootEntry::Kind::symlink:
      return false;
  }
  return false;
}

/// A detached mount of the entry's source, with the attributes it is going to have.
Result<UniqueFd> open_source(const Launch::Entry& entry, bool user_namespace) {
  const auto kind = static_cast<RootEntry::Kind>(entry.kind);
  // A user namespace may not leave out mounts below a folder: what they cover would show.
  const unsigned recursive = user_namespace ? AT_RECURSIVE : 0;
  const unsigned no_follow = entry.read_only ? 0 : AT_SYMLINK_NOFOLLOW;
  UniqueFd tree{
      ::open_tree(AT_FDCWD, entry.source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive | no_follow)};
  if (!tree) return fail(failure("place in the VMM's root", entry.source));
  struct stat found {};
  if (::fstat(tree.get(), &found) != 0) return fail(failure("place in the VMM's root", entry.source));
  if (!is_kind(found.st_mode, kind))
    return fail({.code = ErrorCode::vmm_failed,
                 .attempted = "place in the VMM's root",
                 .subject = entry.source,
                 .reason = "it is not what it was said to be (file, folder or device)",
                 .mend = ""});
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID;
  if (kind != RootEntry::Kind::device) attributes.attr_set |= MOUNT_ATTR_NODEV;
  attributes.attr_set |= entry.read_only ? MOUNT_ATTR_RDONLY : MOUNT_ATTR_NOEXEC;
  if (::mount_setattr(tree.get(), "", AT_EMPTY_PATH | recursive, &attributes, sizeof attributes) != 0)
    return fail(failure("restrict in the VMM's root", entry.source));
  return tree;
}

Result<void> make_parents(int root, const std::string& path) {
  for (auto slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
    if (::mkdirat(root, path.substr(0, slash).c_str(), 0755) != 0 && errno != EEXIST)
      return fail(failure("make in the VMM's root", path));
  return {};
}

Result<void> place(int root, const Launch::Entry& entry, const UniqueFd& tree) {
  const std::string path = entry.target.substr(1);
  NANOBOX_TRY(make_parents(root, path));
  const auto kind = static_cast<RootEntry::Kind>(entry.kind);
  if (kind == RootEntry::Kind::symlink) {
    if (::symlinkat(entry.source.c_str(), root, path.c_str()) != 0)
      return fail(failure("make in the VMM's root", entry.target));
    return {};
  }
  const int made = kind == RootEntry::Kind::folder ? ::mkdirat(root, path.c_str(), 0755)
                                                   : ::mknodat(root, path.c_str(), S_IFREG | 0444, 0);
  if (made != 0 && !(errno == EEXIST && kind == RootEntry::Kind::folder))
    return fail(failure("make in the VMM's root", entry.target));
  if (::move_mount(tree.get(), "", root, path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return fail(failure("place in the VMM's root", entry.target));
  return {};
}

}  // namespace

Result<void> enter_new_root(const Launch& launch) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return fail(failure("keep mounts to", "the VMM"));
  // Sources first: the new root is going to cover the run folder, where some of them lie.
  std::vector<UniqueFd> trees;
  for (const auto& entry : launch.root) {
    const bool link = static_cast<RootEntry::Kind>(entry.kind) == RootEntry::Kind::symlink;
    trees.push_back(link ? UniqueFd{} : NANOBOX_TRY(open_source(entry, launch.user_namespace)));
  }
  const auto root = NANOBOX_TRY(make_tmpfs());
  if (::move_mount(root.get(), "", AT_FDCWD, launch.run_dir.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return fail(failure("mount the VMM's root on", launch.run_dir));
  for (std::size_t i = 0; i < trees.size(); ++i) NANOBOX_TRY(place(root.get(), launch.root[i], trees[i]));

  if (::fchdir(root.get()) != 0 || ::syscall(SYS_pivot_root, ".", ".") != 0)
    return fail(failure("enter the VMM's root on", launch.run_dir));
  if (::umount2(".", MNT_DETACH) != 0 || ::chdir("/") != 0) return fail(failure("leave", "the host's root"));
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (::mount_setattr(root.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    return fail(failure("restrict", "the VMM's root"));
  return {};
}

}  // namespace nanobox
