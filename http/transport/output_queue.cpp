#include "http/transport/output_queue.hpp"

#include <pistache/peer.h>
#include <pistache/transport.h>
#include <sys/socket.h>

namespace nanobox::http::transport {

OutputQueue::OutputQueue(std::weak_ptr<Pistache::Tcp::Peer> peer, Pistache::Tcp::Transport* transport)
    : peer_(std::move(peer)), transport_(transport) {}

void OutputQueue::push(std::string bytes) {
  if (bytes.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    if (waiting_bytes_ + handed_bytes_ == 0) last_progress_ = std::chrono::steady_clock::now();
    waiting_bytes_ += bytes.size();
    waiting_.push_back(std::move(bytes));
  }
  pump();
}

void OutputQueue::pump() {
  // Held while the peer takes a piece, so that `close` means what it says. Pistache only queues it: no callback here.
  const std::lock_guard lock(mutex_);
  while (!closed_ && waiting_bytes_ > 0 && handed_bytes_ < credit) {
    const auto peer = peer_.lock();
    if (!peer) return;
    std::string bytes;
    if (front_offset_ == 0 && waiting_.front().size() <= piece) {
      bytes = std::move(waiting_.front());
      waiting_.pop_front();
    } else {
      bytes = waiting_.front().substr(front_offset_, piece);
      front_offset_ += bytes.size();
      if (front_offset_ == waiting_.front().size()) {
        waiting_.pop_front();
        front_offset_ = 0;
      }
    }
    waiting_bytes_ -= bytes.size();
    handed_bytes_ += bytes.size();
    handed_over_.push_back(bytes.size());
    const auto size = bytes.size();
    peer->send(Pistache::RawBuffer(std::move(bytes), size), MSG_NOSIGNAL);
  }
}

void OutputQueue::on_written() {
  {
    const std::lock_guard lock(mutex_);
    last_progress_ = std::chrono::steady_clock::now();
    if (!handed_over_.empty()) {
      handed_bytes_ -= handed_over_.front();
      handed_over_.pop_front();
    }
  }
  pump();
}

void OutputQueue::on_progress() {
  const std::lock_guard lock(mutex_);
  last_progress_ = std::chrono::steady_clock::now();
}

std::size_t OutputQueue::outstanding() const {
  const std::lock_guard lock(mutex_);
  return waiting_bytes_ + handed_bytes_;
}

std::chrono::steady_clock::time_point OutputQueue::waiting_since() const {
  const std::lock_guard lock(mutex_);
  return last_progress_;
}

void OutputQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  waiting_.clear();
  handed_over_.clear();
  waiting_bytes_ = handed_bytes_ = front_offset_ = 0;
}

void OutputQueue::shut_down(int how) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  if (const auto peer = peer_.lock()) ::shutdown(peer->fd(), how);
}

void OutputQueue::nudge() {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  using Pistache::Polling::NotifyOn;
  if (const auto peer = peer_.lock())
    transport_->reactor()->modifyFd(transport_->key(), peer->fd(),
                                    NotifyOn::Read | NotifyOn::Write | NotifyOn::Shutdown,
                                    Pistache::Polling::Mode::Edge);
}

}  // namespace nanobox::http::transport
