#pragma once

#include <ctime>
#include <filesystem>
#include <optional>
#include <string_view>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox::cli {

/// A file that appears under its name when it is whole: until `commit` it has another name beside it, and without it it
/// is gone. A name that leads to something else than a file (/dev/null, a pipe) is written to as it is; a link's target
/// is replaced, not the link.
class WholeFile {
public:
  /// @errors io_failed, with the path
  static Result<WholeFile> create(const std::filesystem::path& path);
  WholeFile(WholeFile&& other) noexcept = default;
  ~WholeFile();

  Result<void> write(std::string_view bytes);
  /// @param mode  the lower nine bits count: what comes from inside never runs with another's rights
  Result<void> commit(unsigned mode, std::optional<timespec> mtime);

private:
  WholeFile(UniqueFd file, std::filesystem::path path, std::filesystem::path unfinished)
      : file_(std::move(file)), path_(std::move(path)), unfinished_(std::move(unfinished)) {}
  UniqueFd file_;
  std::filesystem::path path_;
  std::filesystem::path unfinished_;  ///< empty: written in place
};

/// An empty folder `.nanobox-…` (0700) in `folder`, for what is not finished; removed with all in it when this goes.
class UnfinishedFolder {
public:
  /// @errors io_failed, with the path
  static Result<UnfinishedFolder> create(const std::filesystem::path& folder);
  UnfinishedFolder(UnfinishedFolder&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  UnfinishedFolder& operator=(UnfinishedFolder&&) = delete;
  ~UnfinishedFolder();

  const std::filesystem::path& path() const { return path_; }
  /// It has got another name.
  void release() { path_.clear(); }

private:
  explicit UnfinishedFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace nanobox::cli
