#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

// What the frames hold. Each decode_… checks lengths, limits and names. @errors peer_untrusted

struct GetMessage {
  std::string ticket;
  std::string name;
};
std::vector<std::byte> encode(const GetMessage& message);
Result<GetMessage> decode_get(std::span<const std::byte> content);

/// Chunks `first` to `first + count - 1` of those that have data (see chunk_table.hpp).
struct ChunksMessage {
  std::uint64_t first = 0;
  std::uint32_t count = 0;
};
std::vector<std::byte> encode(const ChunksMessage& message);
/// @param chunks  how many the artifact has
Result<ChunksMessage> decode_chunks(std::span<const std::byte> content, std::uint64_t chunks);

/// How far a manifest in making is, in bytes read.
struct PreparingMessage {
  std::uint64_t done = 0;
  std::uint64_t total = 0;
};
std::vector<std::byte> encode(const PreparingMessage& message);
Result<PreparingMessage> decode_preparing(std::span<const std::byte> content);

/// The server's error as it is, texts cut to what a frame holds.
std::vector<std::byte> encode(const Error& refusal);
/// An unknown code becomes `internal`; texts are cleaned of control characters.
Result<Error> decode_refusal(std::span<const std::byte> content);

/// Content of a frame `manifest`: the whole manifest's length, and the next part of it.
inline constexpr std::size_t kManifestPrefixBytes = 4;
/// Content of a frame `data`: the chunk's place in the table, and its data.
inline constexpr std::size_t kDataPrefixBytes = 8;

}  // namespace nanobox
