#include "pipeline/boot/channel/refusal.hpp"

#include <catch2/catch.hpp>
#include <cerrno>

#include "guest/protocol.h"

using namespace nanobox;

TEST_CASE("what a guest refuses is told with what was attempted and a code of its own", "[channel]") {
  struct Case {
    std::uint32_t reason, number;
    ErrorCode code;
  };
  const auto expected = GENERATE(values<Case>({
      {NANOBOX_REASON_FILE, ENOENT, ErrorCode::file_not_found},
      {NANOBOX_REASON_FILE, EISDIR, ErrorCode::file_is_folder},
      {NANOBOX_REASON_FILE, ENOTDIR, ErrorCode::not_a_folder},
      {NANOBOX_REASON_FILE, EACCES, ErrorCode::file_permission},
      {NANOBOX_REASON_FILE, ENOSPC, ErrorCode::guest_disk_full},
      {NANOBOX_REASON_FILE, ENAMETOOLONG, ErrorCode::path_invalid},
      {NANOBOX_REASON_FILE, ENOTEMPTY, ErrorCode::folder_not_empty},
      {NANOBOX_REASON_FILE, EIO, ErrorCode::file_failed},
      {NANOBOX_REASON_FILE, 0, ErrorCode::file_failed},
      {NANOBOX_REASON_NOT_A_FILE, 0, ErrorCode::not_a_file},
      {NANOBOX_REASON_ARCHIVE, 0, ErrorCode::archive_invalid},
      {NANOBOX_REASON_CONNECTION, ECONNREFUSED, ErrorCode::connection_refused},
      {NANOBOX_REASON_CONNECTION, ECONNRESET, ErrorCode::connection_failed},
      {NANOBOX_REASON_PROCESS_NOT_FOUND, 0, ErrorCode::process_not_found},
      {NANOBOX_REASON_PROCESS_ENDED, 0, ErrorCode::process_ended},
      {NANOBOX_REASON_STDIN_BUSY, 0, ErrorCode::stdin_busy},
      {NANOBOX_REASON_UNKNOWN_TYPE, 0, ErrorCode::guest_outdated},
      {NANOBOX_REASON_USER_NOT_FOUND, 0, ErrorCode::user_not_found},
      {4711, 0, ErrorCode::command_invalid},
  }));
  const auto error =
      refusal_of({.stream = 1, .reason = expected.reason, .text = "the guest's words", .error_number = expected.number},
                 "read the file", "/x in sb-1");
  CHECK(error.code == expected.code);
  CHECK(error.attempted == "read the file");
  CHECK(error.subject == "/x in sb-1");
  CHECK(error.reason == "the guest's words");
}
