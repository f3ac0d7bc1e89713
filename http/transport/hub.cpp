#include "http/transport/hub.hpp"

#include <algorithm>

#include "http/transport/connection.hpp"

namespace nanobox::http::transport {
namespace {

// Deadlines are looked at so often, while there are connections at all.
std::chrono::milliseconds tick_of(const ServerTimeouts& timeouts) {
  const auto shortest = std::min(
      {timeouts.header, timeouts.body_pause, timeouts.body_total, timeouts.idle, timeouts.write_stall, timeouts.probe});
  return std::clamp(shortest / 4, std::chrono::milliseconds(20), std::chrono::milliseconds(500));
}

}  // namespace

Hub::Hub(ServerSettings settings, Router router) : settings_(std::move(settings)), router_(std::move(router)) {
  watcher_ = std::thread([this] { watch(); });
}

Hub::~Hub() {
  stop_watching();
}

void Hub::stop_watching() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (watcher_.joinable()) watcher_.join();
}

bool Hub::admit() {
  if (++clients_ <= settings_.limits.connections) return true;
  --clients_;
  return false;
}

void Hub::dismiss() {
  --clients_;
}

void Hub::enter(const std::shared_ptr<Connection>& connection) {
  {
    const std::lock_guard lock(mutex_);
    connections_.emplace(connection->id(), connection);
  }
  changed_.notify_all();
}

void Hub::leave(std::uint64_t id) {
  {
    const std::lock_guard lock(mutex_);
    if (connections_.erase(id) == 0) return;
  }
  --clients_;
  changed_.notify_all();
}

void Hub::request_begins() {
  ++in_flight_;
  ++requests_;
}

void Hub::request_ends() {
  if (--in_flight_ > 0 || !draining_) return;
  { const std::lock_guard lock(mutex_); }
  changed_.notify_all();
}

bool Hub::reserve_body(std::uint64_t bytes) {
  if ((bodies_ += bytes) <= settings_.limits.bodies_bytes) return true;
  bodies_ -= bytes;
  return false;
}

void Hub::drain() {
  draining_ = true;
  for (const auto& connection : open_connections()) connection->on_drain();
}

std::vector<std::shared_ptr<Connection>> Hub::open_connections() const {
  std::vector<std::shared_ptr<Connection>> open;
  const std::lock_guard lock(mutex_);
  for (const auto& [id, connection] : connections_)
    if (auto kept = connection.lock()) open.push_back(std::move(kept));
  return open;
}

bool Hub::wait_idle(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, patience, [this] { return in_flight_ == 0; });
}

void Hub::cut_all(std::chrono::milliseconds patience) {
  for (const auto& connection : open_connections()) connection->cut();
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [this] { return connections_.empty(); });
}

Server::Counts Hub::counts() const {
  return {.connections = clients_.load(), .in_flight = in_flight_.load(), .requests = requests_.load()};
}

void Hub::watch() {
  const auto tick = tick_of(settings_.timeouts);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    changed_.wait(lock, [this] { return stopping_ || !connections_.empty(); });
    if (changed_.wait_for(lock, tick, [this] { return stopping_; })) return;
    lock.unlock();
    const auto now = std::chrono::steady_clock::now();
    for (const auto& connection : open_connections()) connection->tick(now);
    lock.lock();
  }
}

}  // namespace nanobox::http::transport
