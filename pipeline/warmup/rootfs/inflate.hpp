#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <stop_token>
#include <utility>

#include "config/error.hpp"
#include "pipeline/warmup/blob_arrival.hpp"
#include "pipeline/warmup/rootfs/buffer_ring.hpp"
#include "pipeline/warmup/rootfs/limits.hpp"

namespace nanobox {

/// Admits one decoder at a time whose zstd window is above 8 MiB (up to 128 MiB), so that memory stays bounded.
class WindowGate {
public:
  /// Holds the gate until destroyed. Empty when `stop` was requested first.
  class Pass {
  public:
    Pass() = default;
    explicit Pass(WindowGate* gate) : gate_(gate) {}
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&& other) noexcept {
      std::swap(gate_, other.gate_);
      return *this;
    }
    ~Pass();
    explicit operator bool() const { return gate_ != nullptr; }

  private:
    WindowGate* gate_ = nullptr;
  };
  Pass enter(std::stop_token stop);

private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool taken_ = false;
};

enum class Compression : std::uint8_t { none = 1, gzip, zstd };

/// By magic bytes, whatever the media type says.
Compression compression_of(std::span<const std::byte> first_bytes);

struct InflateJob {
  const BlobArrival& blob;
  BufferRing& ring;
  const ImageLimits& limits;
  WindowGate& gate;
  std::function<void(std::uint64_t)> consumed;  ///< compressed bytes taken since the last call
  std::stop_token stop;
};

/// Follows the blob while it grows and publishes its inflated bytes to the ring, all gzip members or zstd frames of it.
/// Ends with the ring finished or failed. Blocking; does not throw.
/// @errors  layer_invalid · layer_unsupported (zstd window) · layer_too_large · the arrival's
void inflate_blob(const InflateJob& job) noexcept;

}  // namespace nanobox
