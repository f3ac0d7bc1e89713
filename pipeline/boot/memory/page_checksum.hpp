#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nanobox {

/// The CRC-32C of a page of zeros.
inline constexpr std::uint32_t zero_page_checksum = 0x98F94189;

/// Whether all bytes of a page are zero. @param page  4096 bytes
bool is_zero_page(const std::byte* page);

/// The CRC-32C of each page. @param pages  as many pages of 4096 bytes as `checksums` has places
void checksum_pages(std::span<const std::byte> pages, std::span<std::uint32_t> checksums);

}  // namespace nanobox
