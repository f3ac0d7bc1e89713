#include "pipeline/boot/channel/file_info.hpp"

#include "guest/protocol.h"

namespace nanobox {

namespace {

FileType file_type(std::uint32_t number) {
  switch (number) {
    case NANOBOX_FILE_REGULAR:
      return FileType::file;
    case NANOBOX_FILE_FOLDER:
      return FileType::folder;
    case NANOBOX_FILE_SYMLINK:
      return FileType::symlink;
    case NANOBOX_FILE_CHARACTER:
      return FileType::char_device;
    case NANOBOX_FILE_BLOCK:
      return FileType::block_device;
    case NANOBOX_FILE_FIFO:
      return FileType::fifo;
    case NANOBOX_FILE_SOCKET:
      return FileType::socket;
    default:
      return FileType::unknown;
  }
}

}  // namespace

bool take_file_tag(const Tlv& entry, FileInfo& info) {
  switch (entry.tag) {
    case NANOBOX_TAG_FILE_TYPE:
      info.type = file_type(entry.number());
      return true;
    case NANOBOX_TAG_SIZE:
      info.size_bytes = entry.long_number();
      return true;
    case NANOBOX_TAG_MODE:
      info.mode = entry.number() & 07777;
      return true;
    case NANOBOX_TAG_UID:
      info.uid = entry.number();
      return true;
    case NANOBOX_TAG_GID:
      info.gid = entry.number();
      return true;
    case NANOBOX_TAG_MTIME_NS:
      info.mtime_ns = static_cast<std::int64_t>(entry.long_number());
      return true;
    case NANOBOX_TAG_TARGET:
      info.target = entry.text();
      return true;
    default:
      return false;
  }
}

}  // namespace nanobox
