#pragma once

#include <sys/stat.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/boot/snapshot/saved_state.hpp"
#include "pipeline/template.hpp"

namespace nanobox {

/// A file that may be in a saved state's folder and is none of the state: what its files' chunks are, for other nodes.
inline constexpr const char* kManifestCache = "chunks";

/// A folder that is being filled; removed with the value unless published. Move-only.
class HalfFolder {
public:
  HalfFolder(HalfFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  HalfFolder& operator=(HalfFolder&&) = delete;
  ~HalfFolder();
  const std::filesystem::path& path() const { return path_; }

private:
  friend class SnapshotStore;
  explicit HalfFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

/// The saved states of a node below [agent] snapshot_dir: `templates/<key>/<vcpu>-<memory_mb>/` and `sandboxes/<id>/`.
/// A folder's own time is when it was last used. Thread-safe; may block.
class SnapshotStore {
public:
  /// Makes the folders and removes what is half made. @errors io_failed
  static Result<std::shared_ptr<SnapshotStore>> open(const std::filesystem::path& folder);

  /// What decides whether a template's snapshot may serve: root, own disk, prime, image's settings, kernel, init.
  /// @param kernel_digest  of the guest kernel's file
  static std::string key_of(const Template& entry, const std::string& kernel_digest, const std::string& init_digest,
                            const std::string& fingerprint);

  /// A new key for what `key_of` says: folders of two makings never have the same name, for VMMs and sandboxes go on
  /// with the files of the older.
  static std::string new_key(const std::string& key_of);
  /// Whether a key was made of what `key_of` says.
  static bool is_of(const std::string& key, const std::string& key_of);

  /// The template's snapshot of that size, whole and with right checksums (read again when a file's size or time is not
  /// what it was). One that is broken is removed.
  /// @errors boot_path_unavailable: there is none · snapshot_invalid: why it is none any more
  Result<SavedState> find(const std::string& key, std::uint32_t vcpu, std::uint32_t memory_mb);
  /// Its files are gone or broken, or nobody needs them: nobody else shall get it. Also a key's folder with all sizes.
  void drop(const std::filesystem::path& folder);

  /// While the value lives, `folder` (of a size, or of a key) counts as in use: by what no sandbox' record tells.
  std::shared_ptr<const void> hold(const std::filesystem::path& folder);
  bool is_held(const std::filesystem::path& folder);
  /// The folders of a key's sizes, the one least recently used first.
  std::vector<std::filesystem::path> sizes_of(const std::string& key) const;
  /// The folders of all keys.
  std::vector<std::filesystem::path> key_folders() const;

  std::filesystem::path template_folder(const std::string& key, std::uint32_t vcpu, std::uint32_t memory_mb) const;
  std::filesystem::path sandbox_folder(const std::string& sandbox_id) const;

  /// A new folder in `.tmp/`.
  Result<HalfFolder> begin() const;
  /// Renames it to `folder`, in place of what was there.
  Result<void> publish(HalfFolder half, const std::filesystem::path& folder, bool durable) const;

  /// Removes the templates' snapshots least recently used until all saved states together take at most `max_bytes`,
  /// but for those that `in_use` (their folder) says yes to. @returns how many went
  std::size_t shrink(std::uint64_t max_bytes, const std::function<bool(const std::filesystem::path&)>& in_use);
  /// Allocated bytes of all saved states.
  std::uint64_t bytes() const;

private:
  explicit SnapshotStore(std::filesystem::path folder) : folder_(std::move(folder)) {}
  /// What tells that a file is the one that was read.
  struct FileMark {
    std::string name;
    ino_t inode;
    off_t size;
    std::int64_t changed_ns;
    bool operator==(const FileMark&) const = default;
  };
  struct Known {
    SavedState saved;
    std::vector<FileMark> files;
  };
  static std::vector<FileMark> marks_of(const std::filesystem::path& folder);

  const std::filesystem::path folder_;
  std::mutex mutex_;
  std::map<std::filesystem::path, Known> known_;
  std::vector<std::weak_ptr<const std::filesystem::path>> held_;
};

/// Allocated bytes of all files below a folder.
std::uint64_t allocated_bytes(const std::filesystem::path& folder);

}  // namespace nanobox
