#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "pipeline/boot/channel/file_info.hpp"

namespace nanobox {

/// One entry of a folder in the guest.
struct FileEntry {
  std::string name = {};  ///< raw bytes, without `/`
  FileInfo info = {};
};

/// A command that a guest still knows.
struct ProcessRecord {
  std::string process_id = {};  ///< empty: it was started without one
  std::uint32_t pid = 0;
  std::vector<std::string> argv = {};  ///< what fits into 4 KiB
  bool detached = false;
  bool terminal = false;
  std::uint64_t started_ns = 0;  ///< the guest's wall clock since 1970
  bool ended = false;
  std::uint32_t exit_code = 0;
  std::uint32_t signal = 0;  ///< 0: none
  bool timed_out = false;
  std::uint64_t output_bytes = 0;  ///< of both parts, since its start
};

/// Finds the records in the bytes of a list's stream, which come in pieces of any size. Keeps at most one record more
/// than it was fed.
class RecordReader {
public:
  void feed(std::span<const std::byte> bytes);
  /// The next whole record, valid until the next call of either; nothing: more bytes are needed.
  /// @errors guest_protocol: longer than a record may be
  Result<std::optional<std::span<const std::byte>>> next();
  /// @errors guest_protocol: the stream ended inside a record
  Result<void> finish() const;

private:
  std::vector<std::byte> bytes_;
  std::size_t at_ = 0;
};

/// @errors guest_protocol: no record of that kind
Result<FileEntry> read_file_entry(std::span<const std::byte> record);
Result<ProcessRecord> read_process(std::span<const std::byte> record);

}  // namespace nanobox
