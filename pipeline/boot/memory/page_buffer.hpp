#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "config/error.hpp"

namespace nanobox {

/// Anonymous memory that is there before it is needed, in huge pages where the host has them: copying into fresh memory
/// takes several times as long. Move-only.
class PageBuffer {
public:
  PageBuffer() = default;
  /// @param bytes  faulted in at once. @errors no_capacity
  static Result<PageBuffer> create(std::uint64_t bytes);
  PageBuffer(PageBuffer&& other) noexcept;
  PageBuffer& operator=(PageBuffer&& other) noexcept;
  ~PageBuffer();

  /// Makes the buffer's room at least so large; what it holds stays. @errors no_capacity (nothing has changed)
  Result<void> reserve(std::uint64_t bytes);
  /// @errors no_capacity (nothing has changed)
  Result<void> resize(std::uint64_t bytes);
  std::uint64_t capacity() const noexcept { return capacity_; }
  std::span<std::byte> bytes() noexcept { return {begin_, size_}; }
  std::span<const std::byte> bytes() const noexcept { return {begin_, size_}; }

private:
  std::byte* begin_ = nullptr;
  std::uint64_t size_ = 0;
  std::uint64_t capacity_ = 0;
};

}  // namespace nanobox
