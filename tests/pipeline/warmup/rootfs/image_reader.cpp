#include "tests/pipeline/warmup/rootfs/image_reader.hpp"

#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace nanobox::test {

namespace {

void must(errcode_t code, const std::string& what) {
  if (code != 0) throw std::runtime_error(what + ": ext2fs error " + std::to_string(code));
}

struct CloseFs {
  void operator()(struct_ext2_filsys* fs) const { ext2fs_close_free(&fs); }
};

std::string content_of(ext2_filsys fs, ext2_ino_t number, std::uint64_t size) {
  ext2_file_t file = nullptr;
  must(ext2fs_file_open(fs, number, 0, &file), "open file");
  std::string content;
  std::vector<char> piece(1U << 20);
  for (;;) {
    unsigned got = 0;
    must(ext2fs_file_read(file, piece.data(), static_cast<unsigned>(piece.size()), &got), "read file");
    if (got == 0) break;
    content.append(piece.data(), got);
    if (content.size() > (64U << 20)) break;
  }
  ext2fs_file_close(file);
  if (content.size() != size && size <= (64U << 20)) throw std::runtime_error("short file");
  return content;
}

std::map<std::string, std::string> xattrs_of(ext2_filsys fs, ext2_ino_t number) {
  std::map<std::string, std::string> found;
  ext2_xattr_handle* handle = nullptr;
  must(ext2fs_xattrs_open(fs, number, &handle), "open xattrs");
  must(ext2fs_xattrs_read(handle), "read xattrs");
  must(ext2fs_xattrs_iterate(
           handle,
           [](char* name, char* value, std::size_t size, void* data) {
             static_cast<std::map<std::string, std::string>*>(data)->emplace(name, std::string(value, size));
             return 0;
           },
           &found),
       "list xattrs");
  ext2fs_xattrs_close(&handle);
  return found;
}

Seen look(ext2_filsys fs, ext2_ino_t number) {
  ext2_inode_large inode{};
  must(ext2fs_read_inode_full(fs, number, reinterpret_cast<ext2_inode*>(&inode), sizeof inode), "read inode");
  auto* plain = reinterpret_cast<ext2_inode*>(&inode);
  Seen seen;
  seen.mode = inode.i_mode & 07777U;
  seen.uid = inode_uid(inode);
  seen.gid = inode_gid(inode);
  seen.size = EXT2_I_SIZE(&inode);
  seen.mtime = static_cast<std::int32_t>(inode.i_mtime);
  seen.mtime += static_cast<std::int64_t>(inode.i_mtime_extra & 3) << 32;
  seen.mtime_nsec = inode.i_mtime_extra >> 2;
  seen.links = inode.i_links_count;
  seen.inode = number;
  seen.blocks = inode.i_blocks;
  seen.xattrs = xattrs_of(fs, number);
  const auto device = [&] {
    const auto old = inode.i_block[0], now = inode.i_block[1];
    const auto major = old ? old >> 8 & 0xFF : (now & 0xFFF00) >> 8;
    const auto minor = old ? old & 0xFF : (now & 0xFF) | (now >> 12 & 0xFFF00);
    return std::to_string(major) + ":" + std::to_string(minor);
  };
  switch (inode.i_mode & LINUX_S_IFMT) {
    case LINUX_S_IFREG:
      seen.type = 'f';
      seen.content = content_of(fs, number, seen.size);
      break;
    case LINUX_S_IFDIR:
      seen.type = 'd';
      break;
    case LINUX_S_IFLNK:
      seen.type = 'l';
      seen.content = ext2fs_is_fast_symlink(plain)
                         ? std::string(reinterpret_cast<const char*>(inode.i_block), seen.size)
                         : content_of(fs, number, seen.size);
      break;
    case LINUX_S_IFCHR:
      seen.type = 'c';
      seen.content = device();
      break;
    case LINUX_S_IFBLK:
      seen.type = 'b';
      seen.content = device();
      break;
    case LINUX_S_IFIFO:
      seen.type = 'p';
      break;
    default:
      break;
  }
  return seen;
}

std::string output_of(const std::string& command, int& status) {
  std::string text;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("popen");
  std::array<char, 4096> piece;
  while (const auto got = std::fread(piece.data(), 1, piece.size(), pipe)) text.append(piece.data(), got);
  status = ::pclose(pipe);
  return text;
}

}  // namespace

std::map<std::string, Seen> read_image(const std::filesystem::path& image) {
  ext2_filsys raw = nullptr;
  must(ext2fs_open(image.c_str(), EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &raw), "open image");
  const std::unique_ptr<struct_ext2_filsys, CloseFs> fs(raw);
  std::map<std::string, Seen> all;
  std::deque<std::pair<std::string, ext2_ino_t>> folders{{"", EXT2_ROOT_INO}};
  all["/"] = look(raw, EXT2_ROOT_INO);
  while (!folders.empty()) {
    const auto [path, number] = folders.front();
    folders.pop_front();
    std::vector<std::pair<std::string, ext2_ino_t>> children;
    must(ext2fs_dir_iterate2(
             raw, number, 0, nullptr,
             [](ext2_ino_t, int, ext2_dir_entry* entry, int, int, char*, void* data) {
               const std::string name(entry->name, static_cast<std::size_t>(ext2fs_dirent_name_len(entry)));
               if (name != "." && name != "..")
                 static_cast<std::vector<std::pair<std::string, ext2_ino_t>>*>(data)->emplace_back(name, entry->inode);
               return 0;
             },
             &children),
         "list folder");
    for (const auto& [name, child] : children) {
      const auto child_path = path + "/" + name;
      auto seen = look(raw, child);
      if (seen.type == 'd') folders.emplace_back(child_path, child);
      if (!all.emplace(child_path, std::move(seen)).second) throw std::runtime_error("name twice: " + child_path);
    }
  }
  return all;
}

std::string e2fsck_complaints(const std::filesystem::path& image) {
  int status = 0;
  const auto text = output_of("e2fsck -fn '" + image.string() + "' 2>&1", status);
  // A clean run says its version, five passes and one line of figures.
  std::size_t lines = 0;
  for (const char letter : text) lines += letter == '\n' ? 1 : 0;
  return status == 0 && lines == 7 ? "" : text;
}

}  // namespace nanobox::test
