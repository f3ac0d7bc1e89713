#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "pipeline/boot/channel/requests.hpp"

namespace nanobox {

struct ProcessesRequest {
  bool operator==(const ProcessesRequest&) const = default;
};
struct SignalRequest {
  std::string process_id;
  std::uint32_t number = 0;
  bool operator==(const SignalRequest&) const = default;
};
struct ForgetRequest {
  std::string process_id;
  bool operator==(const ForgetRequest&) const = default;
};
struct FileStatRequest : FileRequest {};
struct FileListRequest : FileRequest {};
struct ArchiveReadRequest : FileRequest {};
struct ArchiveWriteRequest : FileRequest {};
struct TcpRequest {
  std::uint16_t port = 0;
  bool operator==(const TcpRequest&) const = default;
};

/// What a stream of a guest is opened for; see ChannelSession::open_…. Between nodes the number of an alternative says
/// which it is: new ones at the end.
using StreamRequest =
    std::variant<ExecRequest, AttachRequest, InputRequest, ProcessesRequest, SignalRequest, ForgetRequest,
                 FileReadRequest, FileWriteRequest, FileStatRequest, FileListRequest, FileRemoveRequest,
                 FileRenameRequest, FolderMakeRequest, ArchiveReadRequest, ArchiveWriteRequest, TcpRequest, LogRequest>;

}  // namespace nanobox
