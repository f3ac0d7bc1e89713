#pragma once

#include <catch2/catch.hpp>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "client.hpp"
#include "http/router.hpp"
#include "http/server.hpp"

namespace nanobox::test {

using namespace std::chrono_literals;

/// Something that happens on another thread and is waited for.
class Signal {
public:
  void set() {
    {
      const std::lock_guard lock(mutex_);
      is_set_ = true;
    }
    changed_.notify_all();
  }
  bool wait(std::chrono::milliseconds patience = 5s) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [this] { return is_set_; });
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_set_ = false;
};

/// A server on a port of its own; threads started for a test end with it.
class Edge {
public:
  explicit Edge(http::Router router, http::ServerSettings settings = {}) {
    settings.listen_addr = {"127.0.0.1", 0};
    if (settings.threads == 0) settings.threads = 2;
    auto started = http::Server::start(std::move(settings), std::move(router));
    REQUIRE(started);
    server_.emplace(std::move(*started));
  }
  std::uint16_t port() const { return server_->address().port; }
  http::Server& server() { return *server_; }

private:
  std::optional<http::Server> server_;
};

}  // namespace nanobox::test
