#include "tools/nanobox/copy.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include "config/unique_fd.hpp"
#include "tools/nanobox/copy_progress.hpp"
#include "tools/nanobox/guest_files.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/table.hpp"
#include "tools/nanobox/tar_stream.hpp"
#include "tools/nanobox/whole_file.hpp"

namespace nanobox::cli {
namespace {

namespace fs = std::filesystem;

tl::unexpected<Error> refuse(ErrorCode code, std::string subject, std::string reason, std::string mend) {
  return fail({.code = code,
               .attempted = "copy",
               .subject = std::move(subject),
               .reason = std::move(reason),
               .mend = std::move(mend)});
}

void tell_left_out(const std::vector<std::string>& names) {
  for (const auto& name : names) tell("nanobox: left out " + printable(name) + ": no file, folder or link");
}

Result<GuestEntry> existing(GuestFiles& files, const CopyPlace& place) {
  auto entry = NANOBOX_TRY(files.find(place.path));
  if (!entry) return refuse(ErrorCode::file_not_found, place.text(), "nothing is there", "");
  if (entry->type == "file" || entry->is_folder()) return std::move(*entry);
  return refuse(ErrorCode::not_a_file, place.text(), "it is neither file nor folder (" + entry->type + ")", "");
}

/// Where something called `name` goes, told to go to `to`.
struct Destination {
  std::string path;
  bool is_folder = false;  ///< a folder is there already
};

Result<Destination> destination(const CopyPlace& to, const std::string& name, bool copies_folder, bool is_there,
                                bool is_folder) {
  const bool wants_folder = to.path.ends_with('/') || means_content(to.path);
  if (!is_there) {
    if (wants_folder && !copies_folder)
      return refuse(ErrorCode::file_not_found, to.text(), "there is no such folder",
                    "make it first, or leave out the '/' at the end");
    return Destination{.path = to.path};
  }
  if (is_folder) return Destination{.path = joined(to.path, name), .is_folder = name.empty()};
  if (copies_folder) return refuse(ErrorCode::not_a_folder, to.text(), "a folder cannot replace what is there", "");
  if (wants_folder)
    return refuse(ErrorCode::not_a_folder, to.text(), "it is no folder", "leave out the '/' at the end");
  return Destination{.path = to.path};
}

Result<Destination> destination_inside(GuestFiles& files, const CopyPlace& to, const std::string& name,
                                       bool copies_folder) {
  const auto there = NANOBOX_TRY(files.find(to.path));
  auto found = NANOBOX_TRY(destination(to, name, copies_folder, there.has_value(), there && there->is_folder()));
  found.path = plain_path(found.path);
  if (found.is_folder || !there || !there->is_folder()) return found;
  // In a folder that is there: what bears that name in it?
  const auto namesake = NANOBOX_TRY(files.find(found.path));
  if (!namesake || namesake->is_folder() == copies_folder) return found;
  const auto path = CopyPlace{.sandbox_id = to.sandbox_id, .path = found.path}.text();
  if (copies_folder) return refuse(ErrorCode::not_a_folder, path, "a folder cannot replace what is there", "");
  return refuse(ErrorCode::file_is_folder, path, "a file cannot replace the folder there", "");
}

Result<Destination> destination_here(const CopyPlace& to, const std::string& name, bool copies_folder) {
  struct stat is {};
  const bool there = ::stat(to.path.c_str(), &is) == 0;
  auto found = NANOBOX_TRY(destination(to, name, copies_folder, there, there && S_ISDIR(is.st_mode)));
  const bool taken = ::stat(found.path.c_str(), &is) == 0;
  if (taken && S_ISDIR(is.st_mode) && !copies_folder)
    return refuse(ErrorCode::file_is_folder, found.path, "a file cannot replace the folder there", "");
  if (taken && !S_ISDIR(is.st_mode) && copies_folder)
    return refuse(ErrorCode::not_a_folder, found.path, "a folder cannot replace what is there", "");
  found.is_folder = taken && S_ISDIR(is.st_mode);
  return found;
}

/// One copy, with everything it needs.
class Copier {
public:
  Copier(const ServerAddress& server, Interruption& interruption, const CopyCall& call)
      : call_(call),
        interruption_(interruption),
        loop_(server, &interruption),
        source_(loop_, call.from.sandbox_id, call.user),
        target_(loop_, call.to.sandbox_id, call.user) {}

  Result<void> run() {
    if (call_.from.is_inside()) {
      const auto entry = NANOBOX_TRY(existing(source_, call_.from));
      if (call_.from.path.ends_with('/') && !entry.is_folder())
        return refuse(ErrorCode::not_a_folder, call_.from.text(), "it is no folder", "leave out the '/' at the end");
      if (call_.to.is_inside()) return across(entry);
      if (call_.to.is_stream()) return to_stdout(entry);
      return entry.is_folder() ? folder_from_inside(entry) : file_from_inside(entry);
    }
    if (call_.from.is_stream()) return from_stdin();
    struct stat is {};
    if (::stat(call_.from.path.c_str(), &is) != 0) return fail(errno_error(errno, "read", call_.from.path));
    return S_ISDIR(is.st_mode) ? folder_from_here() : file_from_here();
  }

private:
  CopyProgress progress(std::uint64_t total_bytes = 0) const {
    const auto name = name_of(call_.from.path);
    return {name.empty() ? call_.from.path : name, total_bytes, call_.quiet};
  }

  Result<void> file_from_inside(const GuestEntry& entry) {
    const auto to = NANOBOX_TRY(destination_here(call_.to, name_of(call_.from.path), false));
    auto file = NANOBOX_TRY(WholeFile::create(to.path));
    const auto from = NANOBOX_TRY(source_.download(entry.path, false));
    auto shown = progress(entry.size_bytes.value_or(0));
    NANOBOX_TRY(receive(*from, shown, [&](const std::string& bytes) { return file.write(bytes); }));
    return file.commit(entry.mode, entry.mtime);
  }

  Result<void> folder_from_inside(const GuestEntry& entry) {
    const auto to = NANOBOX_TRY(destination_here(call_.to, name_of(call_.from.path), true));
    const fs::path target = fs::absolute(joined(to.path, ""));
    auto unfinished = NANOBOX_TRY(UnfinishedFolder::create(to.is_folder ? target : target.parent_path()));
    const auto from = NANOBOX_TRY(source_.download(entry.path, true));
    auto shown = progress();
    const auto left_out = NANOBOX_TRY(unpack_tar(unfinished.path(), [&]() -> Result<std::string> {
      auto bytes = NANOBOX_TRY(from->next());
      shown.add(bytes.size());
      return bytes;
    }));
    if (to.is_folder) {
      NANOBOX_TRY(move_into(unfinished.path(), target));
    } else {
      if (::rename(unfinished.path().c_str(), target.c_str()) != 0) return fail(errno_error(errno, "write", to.path));
      unfinished.release();
    }
    tell_left_out(left_out);
    return {};
  }

  Result<void> to_stdout(const GuestEntry& entry) {
    if (entry.is_folder() && ::isatty(STDOUT_FILENO) == 1)
      return refuse(ErrorCode::invalid_value, call_.from.text(), "an archive is nothing for a terminal",
                    "write it to a file or a pipe: nanobox cp " + call_.from.text() + " - > folder.tar");
    const auto from = NANOBOX_TRY(source_.download(entry.path, entry.is_folder()));
    auto shown = progress(entry.size_bytes.value_or(0));
    return receive(*from, shown, [&](const std::string& bytes) -> Result<void> {
      if (NANOBOX_TRY(write_paced(STDOUT_FILENO, bytes, interruption_))) return {};
      return fail({.code = ErrorCode::io_failed,
                   .attempted = "write",
                   .subject = "stdout",
                   .reason = "nobody reads it any more",
                   .mend = ""});
    });
  }

  Result<void> file_from_here() {
    const auto& path = call_.from.path;
    const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    struct stat is {};
    if (!file || ::fstat(file.get(), &is) != 0) return fail(errno_error(errno, "read", path));
    const auto to = NANOBOX_TRY(destination_inside(target_, call_.to, name_of(path), false));
    // Files of /proc and pipes do not say how much they hold.
    const std::int64_t size = S_ISREG(is.st_mode) && is.st_size > 0 ? is.st_size : -1;
    const auto upload = target_.upload(to.path, false, is.st_mode & 07777, size);
    auto shown = progress(size > 0 ? static_cast<std::uint64_t>(size) : 0);
    NANOBOX_TRY(send(*upload, file.get(), path, size, shown));
    return target_.finish(*upload, to.path);
  }

  Result<void> folder_from_here() {
    const auto to = NANOBOX_TRY(destination_inside(target_, call_.to, local_name(), true));
    const auto upload = target_.upload(to.path, true, std::nullopt, -1);
    auto shown = progress();
    if (shown.shown()) shown.set_total(bytes_in(call_.from.path));
    const auto left_out = NANOBOX_TRY(pack_tar(call_.from.path, [&](std::string_view bytes) -> Result<void> {
      NANOBOX_TRY(upload->send(bytes));
      shown.add(bytes.size());
      // The server refuses what comes: its answer says why.
      return refused(*upload) ? target_.finish(*upload, to.path) : Result<void>{};
    }));
    NANOBOX_TRY(target_.finish(*upload, to.path));
    tell_left_out(left_out);
    return {};
  }

  Result<void> from_stdin() {
    if (::isatty(STDIN_FILENO) == 1)
      return refuse(ErrorCode::invalid_value, "-", "stdin is a terminal",
                    "send a file or a pipe: … | nanobox cp - " + call_.to.text());
    const auto there = NANOBOX_TRY(target_.find(call_.to.path));
    const bool unpacks = there ? there->is_folder() : call_.to.path.ends_with('/');
    const auto path = plain_path(call_.to.path);
    const auto upload = target_.upload(path, unpacks, std::nullopt, -1);
    auto shown = progress();
    NANOBOX_TRY(send(*upload, STDIN_FILENO, "stdin", -1, shown));
    return target_.finish(*upload, path);
  }

  /// From one sandbox into another, or the same; nothing of it stays here.
  Result<void> across(const GuestEntry& entry) {
    const auto to = NANOBOX_TRY(destination_inside(target_, call_.to, name_of(call_.from.path), entry.is_folder()));
    const bool tar = entry.is_folder();
    const auto from = NANOBOX_TRY(source_.download(entry.path, tar));
    const bool sized = !tar && entry.size_bytes.value_or(0) > 0;
    const auto upload = target_.upload(to.path, tar, tar ? std::nullopt : std::optional(entry.mode),
                                       sized ? static_cast<std::int64_t>(*entry.size_bytes) : -1);
    auto shown = progress(sized ? *entry.size_bytes : 0);
    NANOBOX_TRY(receive(*from, shown, [&](const std::string& bytes) -> Result<void> {
      NANOBOX_TRY(upload->send(bytes));
      return refused(*upload) ? target_.finish(*upload, to.path) : Result<void>{};
    }));
    return target_.finish(*upload, to.path);
  }

  static bool refused(const Transfer& upload) {
    return upload.ended() || (upload.has_head() && !upload.answer().succeeded());
  }

  /// "." and ".." are called what they are.
  std::string local_name() const {
    if (means_content(call_.from.path)) return "";
    const auto name = name_of(call_.from.path);
    std::error_code ignored;
    return name.empty() ? fs::canonical(call_.from.path, ignored).filename().string() : name;
  }

  template <class Write>
  Result<void> receive(Transfer& from, CopyProgress& shown, Write write) {
    for (;;) {
      auto bytes = from.next();
      if (!bytes) {
        auto error = bytes.error();
        if (error.code == ErrorCode::io_failed) error.attempted = "read " + call_.from.text() + " from";
        return fail(std::move(error));
      }
      if (bytes->empty()) return {};
      NANOBOX_TRY(write(*bytes));
      shown.add(bytes->size());
    }
  }

  /// @param size  how much to send; -1: until the end
  Result<void> send(Transfer& upload, int file, const std::string& path, std::int64_t size, CopyProgress& shown) {
    std::array<char, 65536> buffer;
    std::uint64_t left = size < 0 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(size);
    while (left > 0 && !refused(upload)) {
      if (size < 0) NANOBOX_TRY(await_bytes(upload, file));
      const auto got = ::read(file, buffer.data(), std::min<std::uint64_t>(buffer.size(), left));
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got < 0) return fail(errno_error(errno, "read", path));
      if (got == 0 && size < 0) return {};
      if (got == 0)
        return fail({.code = ErrorCode::io_failed,
                     .attempted = "read",
                     .subject = path,
                     .reason = "it got shorter meanwhile",
                     .mend = "copy again when nobody writes to it"});
      NANOBOX_TRY(upload.send({buffer.data(), static_cast<std::size_t>(got)}));
      shown.add(static_cast<std::size_t>(got));
      left -= static_cast<std::uint64_t>(got);
    }
    return {};
  }

  /// A pipe may have nothing for long: signals and the server's answer are heard meanwhile.
  Result<void> await_bytes(const Transfer& upload, int file) {
    for (;;) {
      curl_waitfd waiting{.fd = file, .events = CURL_WAIT_POLLIN, .revents = 0};
      NANOBOX_TRY(loop_.turn({&waiting, 1}));
      if (waiting.revents != 0 || refused(upload)) return {};
    }
  }

  const CopyCall& call_;
  Interruption& interruption_;
  TransferLoop loop_;
  GuestFiles source_;
  GuestFiles target_;
};

}  // namespace

Result<void> copy(const ServerAddress& server, Interruption& interruption, const CopyCall& call) {
  if (!call.from.is_inside() && !call.to.is_inside())
    return refuse(ErrorCode::invalid_value, call.from.text() + " " + call.to.text(), "none of both is in a sandbox",
                  "write SANDBOX:/path for one of them");
  return Copier(server, interruption, call).run();
}

}  // namespace nanobox::cli
