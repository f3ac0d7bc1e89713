#pragma once

#include <ctime>

#include <memory>
#include <optional>
#include <string>

#include "config/error.hpp"
#include "tools/nanobox/transfer.hpp"

namespace nanobox::cli {

/// What is at a path inside.
struct GuestEntry {
  std::string path;  ///< after following links
  std::string type;  ///< "file dir symlink char block fifo socket"
  unsigned mode = 0;
  std::optional<timespec> mtime;
  std::optional<std::uint64_t> size_bytes;  ///< of a file
  bool is_folder() const { return type == "dir"; }
};

/// The files of one sandbox, over REST.
class GuestFiles {
public:
  /// @param user  whose rights count inside; empty: the server's default
  GuestFiles(TransferLoop& loop, std::string sandbox_id, std::string user)
      : loop_(loop), sandbox_id_(std::move(sandbox_id)), user_(std::move(user)) {}

  /// What a path leads to, links followed; nothing: nothing is there. @errors the server's · io_failed
  Result<std::optional<GuestEntry>> find(const std::string& path);

  /// The bytes of a file, or with `tar` of a folder as an archive; its head has been awaited.
  Result<std::unique_ptr<Transfer>> download(const std::string& path, bool tar);

  /// A file to be written, or with `tar` an archive to be unpacked into a folder.
  std::unique_ptr<Transfer> upload(const std::string& path, bool tar, std::optional<unsigned> mode,
                                   std::int64_t body_bytes);
  /// Ends the upload. @errors the server's, with the path
  Result<void> finish(Transfer& upload, const std::string& path);

  TransferLoop& loop() { return loop_; }

private:
  std::string url(const std::string& path) const;
  Error with_path(Error error, const std::string& attempted, const std::string& path) const;

  TransferLoop& loop_;
  std::string sandbox_id_;
  std::string user_;
};

}  // namespace nanobox::cli
