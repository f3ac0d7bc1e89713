#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace nanobox::test {

/// What a tar member says; written as ustar, with a PAX header where ustar cannot hold it.
struct Member {
  std::string path;
  char type = '0';
  std::string data = {};
  std::string link = {};
  unsigned mode = 0644;
  std::int64_t uid = 0, gid = 0;
  std::int64_t mtime = 1'700'000'000;
  unsigned major = 0, minor = 0;
  std::map<std::string, std::string> pax = {};
  std::map<std::string, std::string> xattrs = {};
};

class TarBuilder {
public:
  TarBuilder& add(const Member& member);
  TarBuilder& file(std::string path, std::string data = "", unsigned mode = 0644) {
    return add({.path = std::move(path), .data = std::move(data), .mode = mode});
  }
  TarBuilder& folder(std::string path, unsigned mode = 0755) {
    return add({.path = std::move(path), .type = '5', .mode = mode});
  }
  TarBuilder& symlink(std::string path, std::string target) {
    return add({.path = std::move(path), .type = '2', .link = std::move(target), .mode = 0777});
  }
  TarBuilder& hard_link(std::string path, std::string target) {
    return add({.path = std::move(path), .type = '1', .link = std::move(target)});
  }
  /// Any bytes, filled up to a block.
  TarBuilder& raw(std::string_view bytes);
  /// The tar with its end.
  std::string end() const { return bytes_ + std::string(1024, '\0'); }
  const std::string& without_end() const { return bytes_; }

private:
  std::string bytes_;
};

/// One header block; `size` as it stands in the header.
std::string tar_header(std::string_view path, char type, std::uint64_t size, const Member& member = {});
std::string pax_records(const std::map<std::string, std::string>& records);

std::string gzipped(std::string_view bytes);
std::string zstd_compressed(std::string_view bytes, int window_log = 0);
std::string sha256_digest(std::string_view bytes);

}  // namespace nanobox::test
