#include "pipeline/boot/channel/records.hpp"

#include "guest/protocol.h"
#include "pipeline/boot/channel/frame.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kHead = 4;

}  // namespace

void RecordReader::feed(std::span<const std::byte> bytes) {
  bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(at_));
  at_ = 0;
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

Result<std::optional<std::span<const std::byte>>> RecordReader::next() {
  const auto left = std::span<const std::byte>(bytes_).subspan(at_);
  if (left.size() < kHead) return std::nullopt;
  const std::size_t length = nanobox_get32(reinterpret_cast<const std::uint8_t*>(left.data()));
  if (length > NANOBOX_RECORD_MAX)
    return fail(channel_broken("it sent a record of " + std::to_string(length) + " bytes"));
  if (left.size() - kHead < length) return std::nullopt;
  at_ += kHead + length;
  return left.subspan(kHead, length);
}

Result<void> RecordReader::finish() const {
  if (at_ != bytes_.size()) return fail(channel_broken("it sent a cut-off record"));
  return {};
}

Result<FileEntry> read_file_entry(std::span<const std::byte> record) {
  FileEntry file;
  for (const auto& entry : NANOBOX_TRY(read_tlvs(record))) {
    if (take_file_tag(entry, file.info)) continue;
    if (entry.tag == NANOBOX_TAG_NAME) file.name = entry.text();
  }
  if (file.name.empty() || file.name.size() > NANOBOX_NAME_MAX || file.name.find('/') != std::string::npos ||
      file.name.find('\0') != std::string::npos || file.name == "." || file.name == "..")
    return fail(channel_broken("it sent an entry of a folder without a name"));
  return file;
}

Result<ProcessRecord> read_process(std::span<const std::byte> record) {
  ProcessRecord process;
  for (const auto& entry : NANOBOX_TRY(read_tlvs(record))) {
    switch (entry.tag) {
      case NANOBOX_TAG_PROCESS_ID:
        process.process_id = entry.text();
        break;
      case NANOBOX_TAG_PID:
        process.pid = entry.number();
        break;
      case NANOBOX_TAG_ARG:
        process.argv.push_back(entry.text());
        break;
      case NANOBOX_TAG_DETACHED:
        process.detached = true;
        break;
      case NANOBOX_TAG_COLUMNS:
        process.terminal = true;
        break;
      case NANOBOX_TAG_STARTED_NS:
        process.started_ns = entry.long_number();
        break;
      case NANOBOX_TAG_ENDED:
        process.ended = true;
        break;
      case NANOBOX_TAG_CODE:
        process.exit_code = entry.number() & 0xFF;
        break;
      case NANOBOX_TAG_SIGNAL:
        process.signal = entry.number() & 0x7F;
        break;
      case NANOBOX_TAG_TIMED_OUT:
        process.timed_out = true;
        break;
      case NANOBOX_TAG_OFFSET:
        process.output_bytes = entry.long_number();
        break;
      default:
        break;
    }
  }
  if (process.process_id.size() > NANOBOX_PROCESS_ID_MAX)
    return fail(channel_broken("it sent a process without an id"));
  return process;
}

}  // namespace nanobox
