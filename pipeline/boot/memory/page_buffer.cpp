#include "pipeline/boot/memory/page_buffer.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "pipeline/boot/memory/page_run.hpp"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace nanobox {

namespace {

constexpr std::uint64_t huge_page_bytes = 2U << 20;

Error no_room(int number) {
  return errno_error(number, "make room for a guest's memory", "", ErrorCode::no_capacity);
}

bool fault_in(std::byte* begin, std::uint64_t bytes) {
  if (::madvise(begin, bytes, MADV_POPULATE_WRITE) == 0) return true;
  if (errno != EINVAL) return false;  // else a kernel before 5.14
  for (std::uint64_t at = 0; at < bytes; at += page_bytes) *const_cast<volatile std::byte*>(begin + at) = std::byte{0};
  return true;
}

}  // namespace

Result<PageBuffer> PageBuffer::create(std::uint64_t bytes) {
  PageBuffer buffer;
  NANOBOX_TRY(buffer.reserve(bytes));
  return buffer;
}

PageBuffer::PageBuffer(PageBuffer&& other) noexcept
    : begin_(std::exchange(other.begin_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}

PageBuffer& PageBuffer::operator=(PageBuffer&& other) noexcept {
  std::swap(begin_, other.begin_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
  return *this;
}

PageBuffer::~PageBuffer() {
  if (begin_ != nullptr) ::munmap(begin_, capacity_);
}

Result<void> PageBuffer::reserve(std::uint64_t bytes) {
  if (bytes <= capacity_) return {};
  const auto larger = (bytes + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
  // Of what is mapped, only the part that begins at a huge page's border is kept.
  void* reserved = ::mmap(nullptr, larger + huge_page_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return fail(no_room(errno));
  auto* mapped = static_cast<std::byte*>(reserved);
  const auto lead = (huge_page_bytes - reinterpret_cast<std::uintptr_t>(mapped) % huge_page_bytes) % huge_page_bytes;
  if (lead > 0) ::munmap(mapped, lead);
  ::munmap(mapped + lead + larger, huge_page_bytes - lead);
  auto* begin = mapped + lead;
  ::madvise(begin, larger, MADV_HUGEPAGE);  // only faster
  ::madvise(begin, larger, MADV_DONTDUMP);  // a guest's secrets
  if (!fault_in(begin + capacity_, larger - capacity_)) {
    const int number = errno;
    ::munmap(begin, larger);
    return fail(no_room(number));
  }
  // The pages themselves move, not their content.
  if (begin_ != nullptr && ::mremap(begin_, capacity_, capacity_, MREMAP_MAYMOVE | MREMAP_FIXED, begin) == MAP_FAILED) {
    const int number = errno;
    ::munmap(begin, larger);
    return fail(no_room(number));
  }
  begin_ = begin;
  capacity_ = larger;
  return {};
}

Result<void> PageBuffer::resize(std::uint64_t bytes) {
  NANOBOX_TRY(reserve(bytes));
  size_ = bytes;
  return {};
}

}  // namespace nanobox
