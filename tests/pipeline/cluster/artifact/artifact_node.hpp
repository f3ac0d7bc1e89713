#pragma once

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "pipeline/cluster/artifact/fetch_artifact.hpp"
#include "pipeline/cluster/artifact/open_artifact.hpp"
#include "pipeline/cluster/artifact/serve_artifacts.hpp"
#include "socket_stream.hpp"

namespace nanobox::test {

namespace fs = std::filesystem;

class Folder {
public:
  Folder() {
    std::string name = fs::temp_directory_path() / "nanobox-artifact-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

private:
  fs::path path_;
};

/// Bytes that do not repeat and are seldom zero.
inline std::string noise(std::size_t count, std::uint64_t seed = 1) {
  std::string bytes(count, '\0');
  for (auto& byte : bytes) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    byte = static_cast<char>(seed >> 56);
  }
  return bytes;
}

inline void write_at(const fs::path& path, std::uint64_t offset, const std::string& bytes) {
  { const std::ofstream made(path, std::ios::app); }
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(offset));
  file << bytes;
}

inline std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::uint64_t allocated(const fs::path& path) {
  struct stat status {};
  ::stat(path.c_str(), &status);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

/// Has one artifact `root`: root.ext4 and root.json.
class Node final : public ArtifactCatalogue {
public:
  Folder folder;
  std::vector<std::string> names = {"root.ext4", "root.json"};
  /// Told before an opened artifact is handed out.
  std::function<void(OpenArtifact&)> on_open = [](OpenArtifact&) {};

  Result<OpenArtifact> open(const std::string& ticket, const std::string& name,
                            const ScanProgress& progress) const override {
    if (ticket != "ticket")
      return fail({.code = ErrorCode::token_invalid, .attempted = "open", .subject = name, .reason = "no", .mend = ""});
    if (name != "root")
      return fail(
          {.code = ErrorCode::artifact_missing, .attempted = "open", .subject = name, .reason = "none", .mend = ""});
    std::vector<ArtifactPath> files;
    for (const auto& file : names) files.push_back({file, folder / file});
    auto opened = open_artifact("root", files, folder / "root.chunks", progress);
    if (opened) on_open(*opened);
    return opened;
  }
};

/// A root of 12 MiB: 3 MiB of data, 2 of holes, 4 of data, hole, an odd end.
inline void make_root(const Node& node) {
  write_at(node.folder / "root.ext4", 0, noise(3U << 20));
  write_at(node.folder / "root.ext4", 5U << 20, noise(4U << 20, 2));
  write_at(node.folder / "root.ext4", (11U << 20) + 4096 * 3, noise(5000, 3));
  write_at(node.folder / "root.json", 0, R"({"identity":"root"})");
}

inline FetchRequest request_to(const Folder& folder) {
  return {.ticket = "ticket",
          .name = "root",
          .tmp_folder = folder / ".tmp",
          .destination = folder.path(),
          .files = {"root.ext4", "root.json"},
          .window_bytes = 2U << 20};
}

/// A node's server for one connection, on a thread.
class Serving {
public:
  explicit Serving(const ArtifactCatalogue& catalogue) : Serving(catalogue, connected_sockets()) {}
  /// Whether or not the client has read all.
  ~Serving() {
    stream.cut();
    if (thread_.joinable()) thread_.join();
  }
  /// Waits for the server. @returns how it ended
  Result<void> end() {
    if (thread_.joinable()) {
      stream.end_writing();
      thread_.join();
    }
    return ended_;
  }
  SocketStream stream;  ///< the client's end

private:
  Serving(const ArtifactCatalogue& catalogue, std::pair<UniqueFd, UniqueFd> ends)
      : stream(std::move(ends.first)), server_(std::move(ends.second)), thread_([this, &catalogue] {
          ended_ = serve_artifacts(server_, catalogue);
          server_.cut();
        }) {}
  SocketStream server_;
  Result<void> ended_;
  std::thread thread_;
};

}  // namespace nanobox::test
