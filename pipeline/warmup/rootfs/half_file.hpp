#pragma once

#include <filesystem>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// A file in `.tmp/` of a folder, on its way to its final name. Removed with the value unless published. Move-only.
class HalfFile {
public:
  /// Makes the folder and `.tmp/` where missing, and an empty file of a new name.
  static Result<HalfFile> create(const std::filesystem::path& folder);
  HalfFile(HalfFile&& other) noexcept;
  HalfFile& operator=(HalfFile&& other) noexcept;
  ~HalfFile();

  int fd() const { return fd_.get(); }
  const std::filesystem::path& folder() const { return folder_; }
  /// What writing by `fd` failed with, which knows no name, with that of the folder.
  Error named(Error error) const;
  /// Puts the bytes on disk (fsync) and gives the file its name in the folder, in place of any other.
  Result<void> publish(const std::string& name);

private:
  HalfFile(std::filesystem::path folder, std::filesystem::path path, UniqueFd fd)
      : folder_(std::move(folder)), path_(std::move(path)), fd_(std::move(fd)) {}
  void remove() noexcept;

  std::filesystem::path folder_;
  std::filesystem::path path_;  ///< empty: published or moved from
  UniqueFd fd_;
};

/// Makes the names in a folder durable.
Result<void> sync_folder(const std::filesystem::path& folder);

}  // namespace nanobox
