#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

namespace nanobox {

/// SHA-256.
using ChunkDigest = std::array<std::byte, 32>;

ChunkDigest chunk_digest(std::span<const std::byte> bytes);
/// "sha256:<64 hex>"
std::string to_text(const ChunkDigest& digest);

}  // namespace nanobox
