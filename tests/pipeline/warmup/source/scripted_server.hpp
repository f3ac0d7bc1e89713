#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "config/unique_fd.hpp"
#include "test_image.hpp"

namespace nanobox {

/// An HTTP server on a loopback port whose every answer a test decides, however wrong.
class ScriptedServer {
public:
  struct Request {
    std::string method, path;
    std::map<std::string, std::string> headers;  ///< by lower-case name
    std::string header(const std::string& name) const;
  };
  struct Reply {
    int status = 200;
    std::vector<std::pair<std::string, std::string>> headers = {};
    std::string body = {};
    std::optional<std::size_t> cut_after =
        std::nullopt;    ///< close after so much of the body, whose length was promised
    bool stall = false;  ///< with `cut_after`: keep the connection open, silent, instead
  };
  using Handler = std::function<Reply(const Request&)>;

  explicit ScriptedServer(Handler handler);
  ~ScriptedServer();
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  std::uint16_t port() const { return port_; }
  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  std::vector<Request> requests() const;
  std::size_t count(const std::string& method, const std::string& path_part) const;
  /// Blocks until so many stalled replies have been sent.
  void wait_for_stalled(std::size_t count);
  /// Lets every stalled reply end: the connections close.
  void release();

private:
  void accept_all();
  void serve(int connection);

  Handler handler_;
  std::uint16_t port_ = 0;
  UniqueFd listener_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Request> requests_;
  std::vector<int> open_;
  std::size_t stalled_ = 0;
  bool released_ = false;
  bool ending_ = false;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

/// Answers as a registry that holds `image` under any name and tag; knows Range.
ScriptedServer::Reply serve_image(const TestImage& image, const ScriptedServer::Request& request);

/// A port that nobody listens on.
std::uint16_t free_port();

}  // namespace nanobox
