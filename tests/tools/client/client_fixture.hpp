#pragma once

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "config/child_process.hpp"

namespace nanobox {

using namespace std::chrono_literals;

/// The built client in a folder of its own, with the stand-in as its nanoboxd.
class Client {
public:
  Client() {
    std::string name = std::filesystem::temp_directory_path() / "nanobox-client-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    std::filesystem::create_directory(folder_ / "bin");
    std::filesystem::create_directory(data());
    // A client beside no nanoboxd: the one in PATH, the stand-in, is taken.
    std::filesystem::copy_file(NANOBOX_PROGRAM, program());
  }
  ~Client() {
    CHECK_FALSE(server_runs());
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  Command command(std::vector<std::string> args, const std::vector<std::string>& more_env = {}) const {
    std::vector<std::string> env = {"PATH=" NANOBOX_STAND_IN ":/usr/bin:/bin", "NANOBOX_DATA=" + data().string()};
    env.insert(env.end(), more_env.begin(), more_env.end());
    return {.program = program(), .arguments = std::move(args), .env = env, .descriptors = {}};
  }

  CommandOutput run(std::vector<std::string> args, const std::vector<std::string>& more_env = {}) const {
    return run_command(command(std::move(args), more_env), 60s).value();
  }

  /// Whether the private server holds its folder.
  bool server_runs() const { return std::filesystem::exists(private_folder() / "address"); }
  std::string requests() const {
    std::ifstream file(private_folder() / "requests.log");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::size_t count(std::string_view what) const {
    const auto all = requests();
    std::size_t times = 0;
    for (auto at = all.find(what); at != std::string::npos; at = all.find(what, at + 1)) ++times;
    return times;
  }
  std::filesystem::path folder() const { return folder_; }
  std::filesystem::path program() const { return folder_ / "bin/nanobox"; }
  std::filesystem::path data() const { return folder_ / "data"; }
  std::filesystem::path private_folder() const { return data() / "client"; }

private:
  std::filesystem::path folder_;
};

/// A client with a sandbox, sb-0, which lives until the end of the test.
class ClientWithSandbox : public Client {
public:
  explicit ClientWithSandbox(const std::vector<std::string>& server_env = {}) {
    std::filesystem::create_directories(inside());
    REQUIRE(run({"run", "--keep", "x", "true"}, server_env).exit.exit_code == 0);
  }
  ~ClientWithSandbox() { CHECK(run({"rm", "sb-0"}).out == "sb-0\n"); }
  /// The root of the sandbox's files.
  std::filesystem::path inside() const { return private_folder() / "sb-0"; }
};

/// Something that a folder's changes announce, awaited without looking again and again.
class FolderWatch {
public:
  explicit FolderWatch(const std::filesystem::path& folder) : changes_(::inotify_init1(IN_CLOEXEC)) {
    REQUIRE(::inotify_add_watch(changes_.get(), folder.c_str(), IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE) >= 0);
  }
  void until_there(const std::filesystem::path& file) {
    while (!std::filesystem::exists(file)) {
      pollfd waiting{changes_.get(), POLLIN, 0};
      REQUIRE(::poll(&waiting, 1, 60'000) == 1);
      char events[4096];
      REQUIRE(::read(changes_.get(), events, sizeof events) > 0);
    }
  }

private:
  UniqueFd changes_;
};

inline std::string content_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write_file(const std::filesystem::path& file, std::string_view bytes) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << bytes;
}

/// What is in a folder, hidden names too.
inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

}  // namespace nanobox
