#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "http/server.hpp"

namespace nanobox::http::transport {

class Connection;

/// What all connections of a server share: settings, routes, counters, and the one thread that watches deadlines.
class Hub {
public:
  Hub(ServerSettings settings, Router router);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  const ServerSettings& settings() const { return settings_; }
  const Router& router() const { return router_; }

  /// Counts a client before its connection exists. @returns false above the limit
  bool admit();
  void dismiss();
  std::uint64_t next_id() { return ++last_id_; }
  void enter(const std::shared_ptr<Connection>& connection);
  void leave(std::uint64_t id);

  void request_begins();
  void request_ends();
  bool reserve_body(std::uint64_t bytes);
  void release_body(std::uint64_t bytes) { bodies_ -= bytes; }

  /// From now on requests are refused; connections taken over are told.
  void drain();
  bool draining() const { return draining_; }
  /// Waits until no request is in flight. @returns whether that came about in time
  bool wait_idle(std::chrono::milliseconds patience);
  /// Cuts every connection and waits until the workers have let go of them.
  void cut_all(std::chrono::milliseconds patience);
  void stop_watching();

  Server::Counts counts() const;

private:
  void watch();
  std::vector<std::shared_ptr<Connection>> open_connections() const;

  const ServerSettings settings_;
  const Router router_;
  std::atomic<std::uint64_t> clients_{0};
  std::atomic<std::uint64_t> last_id_{0};
  std::atomic<std::uint64_t> in_flight_{0};
  std::atomic<std::uint64_t> requests_{0};
  std::atomic<std::uint64_t> bodies_{0};
  std::atomic<bool> draining_{false};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<std::uint64_t, std::weak_ptr<Connection>> connections_;
  bool stopping_ = false;
  std::thread watcher_;
};

}  // namespace nanobox::http::transport
