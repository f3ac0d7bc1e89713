#include "pipeline/boot/channel/refusal.hpp"

#include <array>
#include <cerrno>
#include <string_view>

#include "guest/protocol.h"

namespace nanobox {

namespace {

struct Refusal {
  std::uint32_t number;  ///< enum nanobox_reason, or errno
  ErrorCode code;
  std::string_view mend;
};

constexpr std::array kReasons{
    Refusal{NANOBOX_REASON_UNKNOWN_TYPE, ErrorCode::guest_outdated, "warm its template up again and make another"},
    Refusal{NANOBOX_REASON_CWD_NOT_FOUND, ErrorCode::cwd_not_found, "name a folder that exists"},
    Refusal{NANOBOX_REASON_USER_NOT_FOUND, ErrorCode::user_not_found, "name a user of the image, or a numeric id"},
    Refusal{NANOBOX_REASON_NO_RESOURCES, ErrorCode::no_capacity, "end other commands first"},
    Refusal{NANOBOX_REASON_PROCESS_NOT_FOUND, ErrorCode::process_not_found, "list the sandbox's processes"},
    Refusal{NANOBOX_REASON_PROCESS_EXISTS, ErrorCode::process_exists, "use another process id"},
    Refusal{NANOBOX_REASON_PROCESS_ENDED, ErrorCode::process_ended, ""},
    Refusal{NANOBOX_REASON_PROCESS_RUNNING, ErrorCode::process_running, "end it first"},
    Refusal{NANOBOX_REASON_ATTENDED, ErrorCode::process_attended, "start it detached to read its output elsewhere"},
    Refusal{NANOBOX_REASON_STDIN_BUSY, ErrorCode::stdin_busy, "retry once the other writer is done"},
    Refusal{NANOBOX_REASON_STDIN_CLOSED, ErrorCode::stdin_closed, ""},
    Refusal{NANOBOX_REASON_NOT_A_FILE, ErrorCode::not_a_file, "name a file or folder"},
    Refusal{NANOBOX_REASON_ARCHIVE, ErrorCode::archive_invalid, "send a tar archive whose entries stay in the folder"}};

constexpr std::array kFileNumbers{
    Refusal{ENOENT, ErrorCode::file_not_found, ""},
    Refusal{EISDIR, ErrorCode::file_is_folder, "name a file, or ask for an archive"},
    Refusal{ENOTDIR, ErrorCode::not_a_folder, "name a folder"},
    Refusal{EEXIST, ErrorCode::file_exists, "remove it first"},
    Refusal{ENOTEMPTY, ErrorCode::folder_not_empty, "remove it recursively"},
    Refusal{EACCES, ErrorCode::file_permission, "act as a user who may"},
    Refusal{EPERM, ErrorCode::file_permission, "act as a user who may"},
    Refusal{EROFS, ErrorCode::file_permission, ""},
    Refusal{ENOSPC, ErrorCode::guest_disk_full, "remove files in the sandbox, or make one with a larger disk_mb"},
    Refusal{EDQUOT, ErrorCode::guest_disk_full, "remove files in the sandbox, or make one with a larger disk_mb"},
    Refusal{EFBIG, ErrorCode::guest_disk_full, ""},
    Refusal{EBUSY, ErrorCode::file_busy, ""},
    Refusal{ETXTBSY, ErrorCode::file_busy, ""},
    Refusal{ENAMETOOLONG, ErrorCode::path_invalid, "shorten the path"},
    Refusal{ELOOP, ErrorCode::path_invalid, "its links lead in a circle"},
    Refusal{EINVAL, ErrorCode::path_invalid, ""},
    Refusal{EXDEV, ErrorCode::path_invalid, "copy it: the two paths are on different file systems"}};

template <class Table>
const Refusal* find(const Table& table, std::uint32_t number) {
  for (const auto& row : table)
    if (row.number == number) return &row;
  return nullptr;
}

}  // namespace

Error refusal_of(const StreamError& error, std::string attempted, std::string subject) {
  Error refusal{.code = ErrorCode::command_invalid,
                .attempted = std::move(attempted),
                .subject = std::move(subject),
                .reason = error.text,
                .mend = ""};
  const auto* row = find(kReasons, error.reason);
  if (error.reason == NANOBOX_REASON_FILE) {
    refusal.code = ErrorCode::file_failed;
    row = find(kFileNumbers, error.error_number);
  }
  if (error.reason == NANOBOX_REASON_CONNECTION) {
    refusal.code = error.error_number == ECONNREFUSED ? ErrorCode::connection_refused : ErrorCode::connection_failed;
    if (error.error_number == ECONNREFUSED) refusal.mend = "start what listens on that port first";
  }
  if (row != nullptr) {
    refusal.code = row->code;
    refusal.mend = row->mend;
  }
  if (refusal.code == ErrorCode::cwd_not_found) refusal.fields = {{"/cwd", error.text}};
  if (refusal.code == ErrorCode::user_not_found) refusal.fields = {{"/user", error.text}};
  if (refusal.code == ErrorCode::no_capacity) refusal.retry_after_sec = 1;
  return refusal;
}

Error refusal_of(const StreamError& error, std::string sandbox_id) {
  return refusal_of(error, "run a command in", std::move(sandbox_id));
}

}  // namespace nanobox
