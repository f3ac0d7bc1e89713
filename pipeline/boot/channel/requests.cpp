#include "pipeline/boot/channel/requests.hpp"

#include <string_view>

#include "guest/protocol.h"
#include "pipeline/boot/channel/tlv.hpp"

namespace nanobox {

namespace {

using Payload = Result<std::vector<std::byte>>;

/// A request to the guest is one frame.
Payload whole(const TlvWriter& payload, std::string attempted, std::string mend) {
  const auto size = payload.bytes().size();
  if (size <= NANOBOX_FRAME_PAYLOAD_MAX) return payload.bytes();
  return fail({.code = ErrorCode::command_invalid,
               .attempted = std::move(attempted),
               .subject = "",
               .reason = "it takes " + std::to_string(size) + " bytes, and " +
                         std::to_string(NANOBOX_FRAME_PAYLOAD_MAX) + " are the most",
               .mend = std::move(mend)});
}

void put_flag(TlvWriter& payload, std::uint16_t tag, bool set) {
  if (set) payload.put(tag, std::string_view{});
}

Result<void> put_process_id(TlvWriter& payload, const std::string& id) {
  if (id.empty() || id.size() > NANOBOX_PROCESS_ID_MAX || id.find('\0') != std::string::npos)
    return fail({.code = ErrorCode::command_invalid,
                 .attempted = "name a process",
                 .subject = id.substr(0, NANOBOX_PROCESS_ID_MAX),
                 .reason = "an id has 1 to " + std::to_string(NANOBOX_PROCESS_ID_MAX) + " bytes and no NUL",
                 .mend = "use the id that the command was started with"});
  payload.put(NANOBOX_TAG_PROCESS_ID, id);
  return {};
}

/// KIND, PATH and USER.
Result<TlvWriter> file_payload(std::uint32_t kind, const std::string& path, const std::string& user) {
  NANOBOX_TRY(check_guest_path(path));
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_KIND, kind);
  payload.put(NANOBOX_TAG_PATH, path);
  if (!user.empty()) payload.put(NANOBOX_TAG_USER, user);
  return payload;
}

Payload file_whole(const TlvWriter& payload) {
  return whole(payload, "reach a file", "shorten the user's name");
}

}  // namespace

Result<void> check_guest_path(const std::string& path) {
  const auto refuse = [&](std::string reason) -> Result<void> {
    return fail({.code = ErrorCode::path_invalid,
                 .attempted = "reach the file",
                 .subject = path.substr(0, 200),
                 .reason = std::move(reason),
                 .mend = "name it by its absolute path inside of the sandbox"});
  };
  if (!path.starts_with('/')) return refuse("the path does not begin with '/'");
  if (path.size() > NANOBOX_PATH_MAX)
    return refuse("the path is longer than " + std::to_string(NANOBOX_PATH_MAX) + " bytes");
  if (path.find('\0') != std::string::npos) return refuse("the path holds a NUL byte");
  for (std::size_t at = 1; at <= path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    const auto name = std::string_view(path).substr(at, end - at);
    if (name == "..") return refuse("the path holds '..'");
    if (name.size() > NANOBOX_NAME_MAX)
      return refuse("a name in the path is longer than " + std::to_string(NANOBOX_NAME_MAX) + " bytes");
    at = end + 1;
  }
  return {};
}

Payload encode(const ConfigureMessage& message) {
  TlvWriter payload;
  payload.put(NANOBOX_TAG_ID, message.sandbox_id);
  payload.put64(NANOBOX_TAG_CLOCK_NS, message.clock_ns);
  payload.put(NANOBOX_TAG_ENTROPY, message.entropy);
  payload.put64(NANOBOX_TAG_GENERATION, message.generation);
  payload.put(NANOBOX_TAG_HOSTNAME, message.hostname);
  if (!message.resolver.empty()) payload.put(NANOBOX_TAG_RESOLVER, message.resolver);
  for (const auto& entry : message.env) payload.put(NANOBOX_TAG_ENV, entry);
  payload.put(NANOBOX_TAG_CWD, message.cwd);
  payload.put(NANOBOX_TAG_USER, message.user);
  if (message.disk_bytes != 0) payload.put64(NANOBOX_TAG_DISK_BYTES, message.disk_bytes);
  put_flag(payload, NANOBOX_TAG_REHEARSAL, message.rehearsal);
  return whole(payload, "configure the guest", "shorten the sandbox's env");
}

Payload encode(const ExecRequest& request) {
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_KIND, NANOBOX_KIND_EXEC);
  for (const auto& argument : request.argv) payload.put(NANOBOX_TAG_ARG, argument);
  for (const auto& entry : request.env) payload.put(NANOBOX_TAG_ENV, entry);
  if (!request.cwd.empty()) payload.put(NANOBOX_TAG_CWD, request.cwd);
  if (!request.user.empty()) payload.put(NANOBOX_TAG_USER, request.user);
  if (request.deadline_ms != 0) payload.put64(NANOBOX_TAG_DEADLINE_MS, request.deadline_ms);
  if (!request.process_id.empty()) NANOBOX_TRY(put_process_id(payload, request.process_id));
  put_flag(payload, NANOBOX_TAG_DETACHED, request.detached);
  if (request.terminal) {
    payload.put32(NANOBOX_TAG_COLUMNS, request.terminal->columns);
    payload.put32(NANOBOX_TAG_ROWS, request.terminal->rows);
  }
  return whole(payload, "run a command", "shorten its arguments and environment");
}

Payload encode(const AttachRequest& request) {
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_KIND, NANOBOX_KIND_ATTACH);
  if (request.process_id.empty())
    payload.put32(NANOBOX_TAG_PID, request.pid);
  else
    NANOBOX_TRY(put_process_id(payload, request.process_id));
  if (request.offset != 0) payload.put64(NANOBOX_TAG_OFFSET, request.offset);
  return payload.bytes();
}

Payload encode(const InputRequest& request) {
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_KIND, NANOBOX_KIND_INPUT);
  NANOBOX_TRY(put_process_id(payload, request.process_id));
  put_flag(payload, NANOBOX_TAG_EOF, request.eof);
  return payload.bytes();
}

Payload encode(const FileReadRequest& request) {
  auto payload = NANOBOX_TRY(file_payload(NANOBOX_KIND_FILE_READ, request.path, request.user));
  if (request.offset != 0) payload.put64(NANOBOX_TAG_OFFSET, request.offset);
  if (request.length) payload.put64(NANOBOX_TAG_LENGTH, *request.length);
  return file_whole(payload);
}

Payload encode(const FileWriteRequest& request) {
  auto payload = NANOBOX_TRY(file_payload(NANOBOX_KIND_FILE_WRITE, request.path, request.user));
  if (request.mode) payload.put32(NANOBOX_TAG_MODE, *request.mode & 07777);
  return file_whole(payload);
}

Payload encode(std::uint32_t kind, const FileRequest& request) {
  return file_whole(NANOBOX_TRY(file_payload(kind, request.path, request.user)));
}

Payload encode(const FileRemoveRequest& request) {
  auto payload = NANOBOX_TRY(file_payload(NANOBOX_KIND_FILE_REMOVE, request.path, request.user));
  put_flag(payload, NANOBOX_TAG_RECURSIVE, request.recursive);
  return file_whole(payload);
}

Payload encode(const FileRenameRequest& request) {
  NANOBOX_TRY(check_guest_path(request.to));
  auto payload = NANOBOX_TRY(file_payload(NANOBOX_KIND_FILE_RENAME, request.path, request.user));
  payload.put(NANOBOX_TAG_TO, request.to);
  put_flag(payload, NANOBOX_TAG_PARENTS, request.parents);
  return file_whole(payload);
}

Payload encode(const FolderMakeRequest& request) {
  auto payload = NANOBOX_TRY(file_payload(NANOBOX_KIND_FOLDER_MAKE, request.path, request.user));
  put_flag(payload, NANOBOX_TAG_PARENTS, request.parents);
  payload.put32(NANOBOX_TAG_MODE, request.mode & 07777);
  return file_whole(payload);
}

Payload encode(const LogRequest& request) {
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_KIND, NANOBOX_KIND_LOG);
  if (request.offset != 0) payload.put64(NANOBOX_TAG_OFFSET, request.offset);
  put_flag(payload, NANOBOX_TAG_FOLLOW, request.follow);
  return payload.bytes();
}

Payload encode_process(std::uint32_t kind, const std::string& process_id, std::uint32_t signal) {
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_KIND, kind);
  if (kind != NANOBOX_KIND_PROCESSES) NANOBOX_TRY(put_process_id(payload, process_id));
  if (kind == NANOBOX_KIND_SIGNAL) payload.put32(NANOBOX_TAG_SIGNAL, signal);
  return payload.bytes();
}

}  // namespace nanobox
