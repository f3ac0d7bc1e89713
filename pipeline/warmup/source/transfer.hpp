#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

#include "config/error.hpp"
#include "pipeline/warmup/blob_arrival.hpp"
#include "pipeline/warmup/source/image_source.hpp"
#include "pipeline/warmup/source/part_file.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

/// One blob's way into the cache: who wants it, where it may be read from, and the work itself, which one thread runs.
/// Thread-safe.
class Transfer {
public:
  /// Someone who wants the blob.
  struct Client {
    std::shared_ptr<ImageSource> source;
    std::chrono::steady_clock::time_point deadline;
    std::function<void()> progressed;  ///< called from the thread that runs, at most some times a second
  };

  Transfer(Descriptor descriptor, PartFile part, std::shared_ptr<BlobArrival> arrival)
      : descriptor_(std::move(descriptor)), part_(std::move(part)), arrival_(std::move(arrival)) {}

  const Descriptor& descriptor() const { return descriptor_; }
  const std::shared_ptr<BlobArrival>& arrival() const { return arrival_; }

  /// One more who wants it; false once it has ended or is about to, because nobody wanted it any more: its arrival then
  /// completes or fails soon, and the part file is nobody's.
  bool join(const void* who, Client client);
  /// One less. Without any left the work ends soon; what is there stays for a later try, until `abandon`.
  void leave(const void* who);
  void stop();
  /// No later try will come: it ends, and its part file with it. False, and nothing changed, while someone wants it.
  bool abandon();
  bool ended() const;

  /// Fetches until the arrival is complete or has failed. Never throws.
  void run();

private:
  enum class State { waiting, running, ended };
  Result<void> fetch();
  void conclude(Result<void> outcome, bool later_try);
  void stop_locked();
  Result<void> read_from(ImageSource& source);
  Result<void> wait(std::chrono::milliseconds pause);
  StageContext context() const;
  std::shared_ptr<ImageSource> source(std::size_t index) const;
  void progressed(bool at_once);

  const Descriptor descriptor_;
  PartFile part_;
  const std::shared_ptr<BlobArrival> arrival_;
  std::stop_source stop_;
  std::chrono::steady_clock::time_point last_report_{};

  mutable std::mutex mutex_;
  State state_ = State::waiting;
  bool abandoned_ = false;
  std::condition_variable_any pause_;
  std::vector<std::pair<const void*, Client>> clients_;
  std::vector<std::shared_ptr<ImageSource>> sources_;  ///< one a client ever joined: each has its own permission
  std::chrono::steady_clock::time_point deadline_{};
};

}  // namespace nanobox
