#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <memory>
#include <optional>

#include "config/unique_fd.hpp"
#include "tools/nanobox/tar_stream.hpp"

namespace nanobox::cli {
namespace {

namespace fs = std::filesystem;

struct WriteFree {
  void operator()(archive* of) const noexcept { archive_write_free(of); }
};
struct EntryFree {
  void operator()(archive_entry* of) const noexcept { archive_entry_free(of); }
};

struct Sink {
  const PushBytes& push;
  std::optional<Error> error;
};

la_ssize_t write_piece(archive* writer, void* client, const void* bytes, std::size_t size) {
  auto& sink = *static_cast<Sink*>(client);
  if (sink.error) return -1;
  const auto pushed = sink.push({static_cast<const char*>(bytes), size});
  if (pushed) return static_cast<la_ssize_t>(size);
  sink.error = pushed.error();
  archive_set_error(writer, EIO, "the transfer failed");
  return -1;
}

class Packer {
public:
  Packer(archive* writer, fs::path root) : writer_(writer), root_(std::move(root)) {}

  Result<void> pack(const fs::path& below) {
    NANOBOX_TRY(add(below));
    std::vector<std::string> names;
    std::error_code failed;
    const auto folder = root_ / below;
    for (auto at = fs::directory_iterator(folder, failed); !failed && at != fs::directory_iterator();
         at.increment(failed))
      names.push_back(at->path().filename());
    if (failed) return fail(errno_error(failed.value(), "read folder", folder));
    std::ranges::sort(names);
    for (const auto& name : names) {
      struct stat is {};
      if (::lstat((folder / name).c_str(), &is) != 0) return fail(errno_error(errno, "read", folder / name));
      NANOBOX_TRY(S_ISDIR(is.st_mode) ? pack(below / name) : add(below / name));
    }
    return {};
  }

  std::vector<std::string> left_out() { return std::move(left_out_); }

private:
  /// "./", "./folder/", "./folder/file".
  static std::string name_in_archive(const fs::path& below, bool folder) {
    if (below.empty()) return "./";
    return "./" + below.string() + (folder ? "/" : "");
  }

  Result<void> add(const fs::path& below) {
    const auto path = below.empty() ? root_ : root_ / below;
    struct stat is {};
    UniqueFd file;
    if (::lstat(path.c_str(), &is) != 0) return fail(errno_error(errno, "read", path));
    // A link given as the folder to copy is followed.
    if (below.empty() && ::stat(path.c_str(), &is) != 0) return fail(errno_error(errno, "read", path));
    if (S_ISREG(is.st_mode)) {
      file.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
      if (!file || ::fstat(file.get(), &is) != 0) return fail(errno_error(errno, "read", path));
    }
    if (!S_ISREG(is.st_mode) && !S_ISDIR(is.st_mode) && !S_ISLNK(is.st_mode)) {
      left_out_.push_back(path);
      return {};
    }
    const std::unique_ptr<archive_entry, EntryFree> entry(archive_entry_new());
    const auto name = name_in_archive(below, S_ISDIR(is.st_mode));
    archive_entry_copy_stat(entry.get(), &is);
    archive_entry_copy_pathname(entry.get(), name.c_str());
    archive_entry_set_uid(entry.get(), 0);
    archive_entry_set_gid(entry.get(), 0);
    if (S_ISLNK(is.st_mode)) {
      std::error_code failed;
      const auto target = fs::read_symlink(path, failed);
      if (failed) return fail(errno_error(failed.value(), "read link", path));
      archive_entry_copy_symlink(entry.get(), target.c_str());
    }
    if (S_ISREG(is.st_mode) && is.st_nlink > 1) {
      const auto [known, fresh] = hard_links_.try_emplace({is.st_dev, is.st_ino}, name);
      if (!fresh) {
        archive_entry_copy_hardlink(entry.get(), known->second.c_str());
        archive_entry_set_size(entry.get(), 0);
        file.reset();
      }
    }
    if (archive_write_header(writer_, entry.get()) < ARCHIVE_WARN) return fail(failure(path));
    return file ? copy_bytes(file.get(), static_cast<std::uint64_t>(is.st_size), path) : Result<void>{};
  }

  Result<void> copy_bytes(int file, std::uint64_t left, const fs::path& path) {
    std::array<char, 65536> buffer;
    while (left > 0) {
      const auto got = ::read(file, buffer.data(), std::min<std::uint64_t>(buffer.size(), left));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail(errno_error(errno, "read", path));
      if (got == 0)
        return fail({.code = ErrorCode::io_failed,
                     .attempted = "read",
                     .subject = path,
                     .reason = "it got shorter meanwhile",
                     .mend = "copy again when nobody writes to it"});
      if (archive_write_data(writer_, buffer.data(), static_cast<std::size_t>(got)) != got) return fail(failure(path));
      left -= static_cast<std::uint64_t>(got);
    }
    return {};
  }

  Error failure(const fs::path& path) const {
    const char* text = archive_error_string(writer_);
    return {.code = ErrorCode::io_failed,
            .attempted = "pack",
            .subject = path,
            .reason = text != nullptr ? text : "it failed",
            .mend = ""};
  }

  archive* writer_;
  fs::path root_;
  std::map<std::pair<dev_t, ino_t>, std::string> hard_links_;
  std::vector<std::string> left_out_;
};

}  // namespace

Result<std::vector<std::string>> pack_tar(const fs::path& folder, const PushBytes& push) {
  Sink sink{.push = push, .error = {}};
  Result<void> packed;
  std::vector<std::string> left_out;
  {
    const std::unique_ptr<archive, WriteFree> writer(archive_write_new());
    archive_write_set_format_pax_restricted(writer.get());
    archive_write_set_bytes_in_last_block(writer.get(), 1);
    archive_write_open(writer.get(), &sink, nullptr, write_piece, nullptr);
    Packer packer(writer.get(), folder);
    packed = packer.pack({});
    // A writer that is freed ends its archive, which would look whole.
    if (!packed && !sink.error) sink.error = packed.error();
    if (packed && archive_write_close(writer.get()) != ARCHIVE_OK && !sink.error)
      sink.error = Error{.code = ErrorCode::io_failed,
                         .attempted = "pack",
                         .subject = folder,
                         .reason = archive_error_string(writer.get()),
                         .mend = ""};
    left_out = packer.left_out();
  }
  if (sink.error) return fail(std::move(*sink.error));
  return left_out;
}

std::uint64_t bytes_in(const fs::path& folder) {
  std::uint64_t bytes = 0;
  std::error_code failed;
  for (auto at = fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied, failed);
       !failed && at != fs::recursive_directory_iterator(); at.increment(failed)) {
    struct stat is {};
    if (::lstat(at->path().c_str(), &is) == 0 && S_ISREG(is.st_mode)) bytes += static_cast<std::uint64_t>(is.st_size);
  }
  return bytes;
}

}  // namespace nanobox::cli
