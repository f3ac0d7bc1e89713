#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

/// All that makes one copy of a guest itself (docs/guest.md, CONFIGURE). What an earlier one said is forgotten.
struct ConfigureMessage {
  std::string sandbox_id = {};
  std::string hostname = {};
  std::string resolver = {};          ///< an address; empty: none
  std::vector<std::string> env = {};  ///< "K=V": the image's, then the sandbox's
  std::string cwd = {};               ///< the image's; empty: /
  std::string user = {};              ///< the image's; empty: root
  std::uint64_t clock_ns = 0;         ///< wall clock since 1970
  std::array<std::byte, 64> entropy{};
  std::uint64_t generation = 0;
  /// The size that the root's device is to have; a resize may reach the guest later than this. 0: it has its size.
  std::uint64_t disk_bytes = 0;
  bool rehearsal = false;  ///< for nobody yet: another will follow, what QUIESCE froze stays frozen
};

struct TerminalSize {
  std::uint16_t columns = 80;
  std::uint16_t rows = 24;
  bool operator==(const TerminalSize&) const = default;
};

struct ExecRequest {
  std::vector<std::string> argv = {};
  std::vector<std::string> env = {};
  std::string cwd = {};           ///< empty: the image's
  std::string user = {};          ///< empty: the image's
  std::uint64_t deadline_ms = 0;  ///< 0: none
  /// The caller's name for the command, at most 64 bytes and never used twice in a guest; empty: known by its pid only.
  std::string process_id = {};
  bool detached = false;                      ///< lives on without this stream, which ends with Opened
  std::optional<TerminalSize> terminal = {};  ///< runs on a PTY of that size: all output is stdout's part
  bool operator==(const ExecRequest&) const = default;
};

/// A detached command, by its process id or, where that is empty, its pid.
struct AttachRequest {
  std::string process_id = {};
  std::uint32_t pid = 0;
  std::uint64_t offset = 0;  ///< bytes of both parts since its start; older than what is kept: from the oldest on
  bool operator==(const AttachRequest&) const = default;
};

struct InputRequest {
  std::string process_id = {};
  bool eof = false;  ///< the last byte written to the stream closes the command's stdin
  bool operator==(const InputRequest&) const = default;
};

// Paths are absolute, without NUL and `..`; at most 4095 bytes, each name at most 255 (check_guest_path). `user` is
// whose permissions hold and who owns what is made; empty: root.

struct FileReadRequest {
  std::string path = {};  ///< a link is followed
  std::string user = {};
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length = {};  ///< nothing: to the end
  bool operator==(const FileReadRequest&) const = default;
};

struct FileWriteRequest {
  std::string path = {};  ///< a link is followed; missing folders are made
  std::string user = {};
  std::optional<std::uint32_t> mode = {};  ///< nothing: the old file's, else 0644. Root keeps the old file's owner too
  bool operator==(const FileWriteRequest&) const = default;
};

/// What stat, list and both archive directions need.
struct FileRequest {
  std::string path = {};
  std::string user = {};
  bool operator==(const FileRequest&) const = default;
};

struct FileRemoveRequest {
  std::string path = {};  ///< a link itself is removed
  std::string user = {};
  bool recursive = false;  ///< a folder with all in it; otherwise only an empty one
  bool operator==(const FileRemoveRequest&) const = default;
};

struct FileRenameRequest {
  std::string path = {};
  std::string to = {};  ///< a file of that name is replaced
  std::string user = {};
  bool parents = false;  ///< makes missing folders of `to`
  bool operator==(const FileRenameRequest&) const = default;
};

struct FolderMakeRequest {
  std::string path = {};
  std::string user = {};
  bool parents = false;  ///< makes missing ones above it too, and is content with one that is there
  std::uint32_t mode = 0755;
  bool operator==(const FolderMakeRequest&) const = default;
};

struct LogRequest {
  std::uint64_t offset = 0;  ///< older than what is kept: from the oldest on
  bool follow = false;       ///< goes on until the stream is closed
  bool operator==(const LogRequest&) const = default;
};

/// @errors path_invalid: relative, longer than Linux takes, or with NUL or `..`
Result<void> check_guest_path(const std::string& path);

/// The payloads of CONFIGURE and OPEN (guest/protocol.h).
/// @errors command_invalid: larger than a frame, or a process id that is none · path_invalid
Result<std::vector<std::byte>> encode(const ConfigureMessage& message);
Result<std::vector<std::byte>> encode(const ExecRequest& request);
Result<std::vector<std::byte>> encode(const AttachRequest& request);
Result<std::vector<std::byte>> encode(const InputRequest& request);
Result<std::vector<std::byte>> encode(const FileReadRequest& request);
Result<std::vector<std::byte>> encode(const FileWriteRequest& request);
Result<std::vector<std::byte>> encode(std::uint32_t kind, const FileRequest& request);
Result<std::vector<std::byte>> encode(const FileRemoveRequest& request);
Result<std::vector<std::byte>> encode(const FileRenameRequest& request);
Result<std::vector<std::byte>> encode(const FolderMakeRequest& request);
Result<std::vector<std::byte>> encode(const LogRequest& request);
/// PROCESSES, and with an id FORGET and (with a number) SIGNAL.
Result<std::vector<std::byte>> encode_process(std::uint32_t kind, const std::string& process_id = {},
                                              std::uint32_t signal = 0);

}  // namespace nanobox
