#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>

#include "config/unique_fd.hpp"
#include "tools/nanobox/tar_stream.hpp"

namespace nanobox::cli {
namespace {

namespace fs = std::filesystem;

struct ReadFree {
  void operator()(archive* of) const noexcept { archive_read_free(of); }
};
struct WriteFree {
  void operator()(archive* of) const noexcept { archive_write_free(of); }
};

/// libarchive unpacks below the working folder; this is where we were before.
class WorkingFolder {
public:
  static Result<WorkingFolder> enter(const fs::path& folder) {
    UniqueFd before{::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (!before) return fail(errno_error(errno, "open folder", "."));
    if (::chdir(folder.c_str()) != 0) return fail(errno_error(errno, "open folder", folder));
    return WorkingFolder(std::move(before));
  }
  WorkingFolder(WorkingFolder&&) = default;
  ~WorkingFolder() {
    if (before_ && ::fchdir(before_.get()) != 0) ::_exit(EXIT_FAILURE);  // paths would mean other files
  }

private:
  explicit WorkingFolder(UniqueFd before) : before_(std::move(before)) {}
  UniqueFd before_;
};

struct Source {
  const PullBytes& next;
  std::string piece;
  std::optional<Error> error;
};

la_ssize_t read_piece(archive* reader, void* client, const void** bytes) {
  auto& source = *static_cast<Source*>(client);
  auto piece = source.next();
  if (!piece) {
    source.error = piece.error();
    archive_set_error(reader, EIO, "the transfer failed");
    return -1;
  }
  source.piece = std::move(*piece);
  *bytes = source.piece.data();
  return static_cast<la_ssize_t>(source.piece.size());
}

Error damaged(archive* of, const std::string& name) {
  const int number = archive_errno(of);
  const char* text = archive_error_string(of);
  if (number == ENOSPC || number == EDQUOT) return errno_error(number, "unpack", name);
  return {.code = ErrorCode::archive_invalid,
          .attempted = "unpack",
          .subject = name,
          .reason = text != nullptr ? text : "the archive is damaged",
          .mend = ""};
}

bool is_kept(archive_entry* entry) {
  if (archive_entry_hardlink(entry) != nullptr) return true;
  const auto type = archive_entry_filetype(entry);
  return type == AE_IFREG || type == AE_IFDIR || type == AE_IFLNK;
}

Result<void> copy_bytes(archive* reader, archive* disk, const std::string& name) {
  const void* bytes = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  for (;;) {
    const int got = archive_read_data_block(reader, &bytes, &size, &offset);
    if (got == ARCHIVE_EOF) return {};
    if (got < ARCHIVE_WARN) return fail(damaged(reader, name));
    if (archive_write_data_block(disk, bytes, size, offset) < ARCHIVE_WARN) return fail(damaged(disk, name));
  }
}

Result<std::vector<std::string>> unpack_here(archive* reader, archive* disk) {
  std::vector<std::string> left_out;
  bool has_root = false;
  archive_entry* entry = nullptr;
  for (;;) {
    const int got = archive_read_next_header(reader, &entry);
    if (got == ARCHIVE_EOF) break;
    if (got < ARCHIVE_WARN) return fail(damaged(reader, ""));
    const char* raw = archive_entry_pathname(entry);
    if (raw == nullptr) return fail(damaged(reader, ""));
    const std::string name(raw);
    if (!is_kept(entry)) {
      left_out.push_back(name);
      continue;
    }
    has_root = has_root || name == "." || name == "./";
    archive_entry_set_perm(entry, archive_entry_perm(entry) & 0777);
    if (archive_write_header(disk, entry) < ARCHIVE_WARN) return fail(damaged(disk, name));
    if (archive_entry_size(entry) > 0) NANOBOX_TRY(copy_bytes(reader, disk, name));
    if (archive_write_finish_entry(disk) < ARCHIVE_WARN) return fail(damaged(disk, name));
  }
  // Modes and times of folders come last.
  if (archive_write_close(disk) != ARCHIVE_OK) return fail(damaged(disk, ""));
  if (!has_root && ::chmod(".", 0755) != 0) return fail(errno_error(errno, "unpack", "."));
  return left_out;
}

struct Meeting {
  fs::path from;
  fs::path into;
  bool joins = false;  ///< both are folders
};

Result<std::vector<Meeting>> meetings(const fs::path& from, const fs::path& into) {
  std::vector<Meeting> found;
  std::error_code failed;
  for (auto at = fs::directory_iterator(from, failed); !failed && at != fs::directory_iterator();
       at.increment(failed)) {
    const auto target = into / at->path().filename();
    struct stat here {
    }, there{};
    if (::lstat(at->path().c_str(), &here) != 0) return fail(errno_error(errno, "read", at->path()));
    const bool taken = ::lstat(target.c_str(), &there) == 0;
    const bool joins = taken && S_ISDIR(here.st_mode) && S_ISDIR(there.st_mode);
    if (taken && S_ISDIR(here.st_mode) != S_ISDIR(there.st_mode))
      return fail({.code = S_ISDIR(there.st_mode) ? ErrorCode::file_is_folder : ErrorCode::not_a_folder,
                   .attempted = "copy to",
                   .subject = target,
                   .reason = S_ISDIR(there.st_mode)   ? "a folder is there"
                             : S_ISLNK(there.st_mode) ? "a link is there, which is not followed"
                                                      : "something is there that is no folder",
                   .mend = "remove it, or copy to another place"});
    found.push_back({at->path(), target, joins});
  }
  if (failed) return fail(errno_error(failed.value(), "read folder", from));
  return found;
}

Result<void> check_meetings(const fs::path& from, const fs::path& into) {
  for (const auto& meeting : NANOBOX_TRY(meetings(from, into)))
    if (meeting.joins) NANOBOX_TRY(check_meetings(meeting.from, meeting.into));
  return {};
}

/// A folder is moved with its '..', for which its owner needs to be allowed to write into it.
Result<void> move_one(const Meeting& meeting) {
  struct stat is {};
  const bool opens = ::lstat(meeting.from.c_str(), &is) == 0 && S_ISDIR(is.st_mode) && (is.st_mode & 0200) == 0;
  if (opens && ::chmod(meeting.from.c_str(), is.st_mode | 0700) != 0)
    return fail(errno_error(errno, "write", meeting.into));
  if (::rename(meeting.from.c_str(), meeting.into.c_str()) != 0) return fail(errno_error(errno, "write", meeting.into));
  if (opens) ::chmod(meeting.into.c_str(), is.st_mode & 0777);
  return {};
}

Result<void> move_checked(const fs::path& from, const fs::path& into) {
  std::error_code ignored;
  fs::permissions(from, fs::perms::owner_all, fs::perm_options::add, ignored);
  for (const auto& meeting : NANOBOX_TRY(meetings(from, into)))
    NANOBOX_TRY(meeting.joins ? move_checked(meeting.from, meeting.into) : move_one(meeting));
  return {};
}

}  // namespace

Result<std::vector<std::string>> unpack_tar(const fs::path& folder, const PullBytes& next) {
  const auto there = NANOBOX_TRY(WorkingFolder::enter(folder));
  const std::unique_ptr<archive, ReadFree> reader(archive_read_new());
  archive_read_support_format_tar(reader.get());
  archive_read_support_format_empty(reader.get());
  const std::unique_ptr<archive, WriteFree> disk(archive_write_disk_new());
  archive_write_disk_set_options(disk.get(), ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
                                                 ARCHIVE_EXTRACT_SECURE_SYMLINKS | ARCHIVE_EXTRACT_SECURE_NODOTDOT |
                                                 ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
  Source source{.next = next, .piece = {}, .error = {}};
  auto unpacked = archive_read_open(reader.get(), &source, nullptr, read_piece, nullptr) == ARCHIVE_OK
                      ? unpack_here(reader.get(), disk.get())
                      : Result<std::vector<std::string>>(fail(damaged(reader.get(), "")));
  if (source.error) return fail(std::move(*source.error));
  if (!unpacked) return unpacked;
  // What comes behind the archive's end belongs to its transfer, whose own end says whether it was whole.
  for (;;)
    if (NANOBOX_TRY(next()).empty()) return unpacked;
}

Result<void> move_into(const fs::path& from, const fs::path& into) {
  NANOBOX_TRY(check_meetings(from, into));
  return move_checked(from, into);
}

}  // namespace nanobox::cli
