#include "pipeline/boot/snapshot/snapshot_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "config/id.hpp"
#include "config/sha256.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

Result<void> make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail(errno_error(error.value(), "make folder", path));
  // An unprivileged VMM walks to the memory that it maps.
  ::chmod(path.c_str(), 0711);
  return {};
}

Result<void> sync_folder(const fs::path& path) {
  const UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return fail(errno_error(errno, "sync", path));
  return {};
}

}  // namespace

std::uint64_t allocated_bytes(const fs::path& folder) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    struct stat file {};
    if (::lstat(entry.path().c_str(), &file) == 0 && S_ISREG(file.st_mode))
      sum += static_cast<std::uint64_t>(file.st_blocks) * 512;
  }
  return sum;
}

HalfFolder::~HalfFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

Result<std::shared_ptr<SnapshotStore>> SnapshotStore::open(const fs::path& folder) {
  std::error_code ignored;
  fs::remove_all(folder / ".tmp", ignored);
  for (const auto& part : {folder, folder / ".tmp", folder / "templates", folder / "sandboxes"})
    NANOBOX_TRY(make_folders(part));
  return std::shared_ptr<SnapshotStore>(new SnapshotStore(folder));
}

std::string SnapshotStore::key_of(const Template& entry, const std::string& kernel_digest,
                                  const std::string& init_digest, const std::string& fingerprint) {
  std::string text = "nanobox snapshot 1\n" + entry.owner + '\n' + entry.rootfs.identity + '\n' + entry.disk.native() +
                     '\n' + kernel_digest + '\n' + init_digest + '\n' + fingerprint + '\n' + entry.config.user + '\n' +
                     entry.config.working_dir + '\n';
  for (const auto& variable : entry.config.env) text += variable + '\0';
  if (entry.prime) {
    text += '\n' + entry.prime->command;
    for (const auto& argument : entry.prime->args) text += '\0' + argument;
    text += entry.prime->background ? "\nbackground" : "\n";
    if (entry.prime->ready)
      text += '\n' + entry.prime->ready->command + '\n' + std::to_string(entry.prime->ready->port);
  }
  return sha256_hex(text);
}

fs::path SnapshotStore::template_folder(const std::string& key, std::uint32_t vcpu, std::uint32_t memory_mb) const {
  return folder_ / "templates" / key / (std::to_string(vcpu) + "-" + std::to_string(memory_mb));
}

fs::path SnapshotStore::sandbox_folder(const std::string& sandbox_id) const {
  return folder_ / "sandboxes" / sandbox_id;
}

std::string SnapshotStore::new_key(const std::string& key_of) {
  return key_of + "-" + make_id("v").substr(2);
}

bool SnapshotStore::is_of(const std::string& key, const std::string& key_of) {
  return key.starts_with(key_of + "-");
}

std::vector<SnapshotStore::FileMark> SnapshotStore::marks_of(const fs::path& folder) {
  std::vector<FileMark> marks;
  std::error_code error;
  for (auto entry = fs::directory_iterator(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    struct stat file {};
    if (entry->path().filename() == kManifestCache) continue;
    if (::lstat(entry->path().c_str(), &file) != 0) continue;  // then it is missed
    marks.push_back({.name = entry->path().filename(),
                     .inode = file.st_ino,
                     .size = file.st_size,
                     .changed_ns = file.st_mtim.tv_sec * 1'000'000'000 + file.st_mtim.tv_nsec});
  }
  std::ranges::sort(marks, {}, &FileMark::name);
  return marks;
}

Result<SavedState> SnapshotStore::find(const std::string& key, std::uint32_t vcpu, std::uint32_t memory_mb) {
  const auto folder = template_folder(key, vcpu, memory_mb);
  auto marks = marks_of(folder);
  if (!marks.empty()) ::utimensat(AT_FDCWD, folder.c_str(), nullptr, 0);
  {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(folder);
    if (found != known_.end() && found->second.files == marks) return found->second.saved;
    known_.erase(folder);
  }
  std::error_code error;
  if (!fs::exists(folder, error))
    return fail({.code = ErrorCode::boot_path_unavailable,
                 .attempted = "find a snapshot of the template",
                 .subject = std::to_string(vcpu) + " vCPU, " + std::to_string(memory_mb) + " MiB",
                 .reason = "there is none of that size",
                 .mend = "use boot auto or cold, or the template's own size"});
  auto saved = read_saved_state(folder);
  if (saved)
    if (auto verified = verify_saved_state(*saved); !verified) saved = fail(verified.error());
  if (!saved) {
    drop(folder);
    return saved;
  }
  const std::lock_guard lock(mutex_);
  known_[folder] = {*saved, std::move(marks)};
  return saved;
}

void SnapshotStore::drop(const fs::path& folder) {
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(known_,
                  [&](const auto& entry) { return entry.first == folder || entry.first.parent_path() == folder; });
  }
  std::error_code ignored;
  const auto gone = folder_ / ".tmp" / make_id("gone");
  fs::rename(folder, gone, ignored);
  fs::remove_all(gone, ignored);
  if (folder.parent_path() != folder_ / "templates")
    fs::remove(folder.parent_path(), ignored);  // the key's, once empty
}

std::shared_ptr<const void> SnapshotStore::hold(const fs::path& folder) {
  auto held = std::make_shared<const fs::path>(folder);
  const std::lock_guard lock(mutex_);
  std::erase_if(held_, [](const auto& other) { return other.expired(); });
  held_.push_back(held);
  return held;
}

bool SnapshotStore::is_held(const fs::path& folder) {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(held_, [&](const auto& weak) {
    const auto held = weak.lock();
    return held && (*held == folder || held->parent_path() == folder || folder.parent_path() == *held);
  });
}

std::vector<fs::path> SnapshotStore::sizes_of(const std::string& key) const {
  std::vector<std::pair<fs::file_time_type, fs::path>> sizes;
  std::error_code error;
  for (auto entry = fs::directory_iterator(folder_ / "templates" / key, error);
       !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored)) sizes.emplace_back(fs::last_write_time(entry->path(), ignored), entry->path());
  }
  std::ranges::sort(sizes);
  std::vector<fs::path> folders;
  for (auto& [used, folder] : sizes) folders.push_back(std::move(folder));
  return folders;
}

std::vector<fs::path> SnapshotStore::key_folders() const {
  std::vector<fs::path> folders;
  std::error_code error;
  for (auto entry = fs::directory_iterator(folder_ / "templates", error); !error && entry != fs::directory_iterator();
       entry.increment(error))
    folders.push_back(entry->path());
  return folders;
}

Result<HalfFolder> SnapshotStore::begin() const {
  HalfFolder half(folder_ / ".tmp" / make_id("half"));
  NANOBOX_TRY(make_folders(half.path()));
  return half;
}

Result<void> SnapshotStore::publish(HalfFolder half, const fs::path& folder, bool durable) const {
  NANOBOX_TRY(make_folders(folder.parent_path()));
  std::error_code error;
  const auto old = folder_ / ".tmp" / make_id("old");
  fs::rename(folder, old, error);
  fs::rename(half.path(), folder, error);
  if (error) {
    std::error_code ignored;
    fs::rename(old, folder, ignored);
    return fail(errno_error(error.value(), "publish", folder));
  }
  half.path_.clear();
  if (durable) NANOBOX_TRY(sync_folder(folder.parent_path()));
  fs::remove_all(old, error);
  return {};
}

std::uint64_t SnapshotStore::bytes() const {
  return allocated_bytes(folder_);
}

std::size_t SnapshotStore::shrink(std::uint64_t max_bytes, const std::function<bool(const fs::path&)>& in_use) {
  struct Candidate {
    fs::path folder;
    std::uint64_t bytes;
    fs::file_time_type used;
  };
  std::vector<Candidate> candidates;
  std::error_code error;
  for (const auto& key : key_folders())
    for (const auto& size : fs::directory_iterator(key, error))
      if (size.is_directory(error))  // a template's own disk is none
        candidates.push_back({size.path(), allocated_bytes(size.path()), fs::last_write_time(size.path(), error)});
  std::ranges::sort(candidates, {}, &Candidate::used);
  auto sum = bytes();
  std::size_t removed = 0;
  for (const auto& candidate : candidates) {
    if (sum <= max_bytes) break;
    if (is_held(candidate.folder) || in_use(candidate.folder)) continue;
    drop(candidate.folder);
    sum -= std::min(sum, candidate.bytes);
    ++removed;
  }
  return removed;
}

}  // namespace nanobox
