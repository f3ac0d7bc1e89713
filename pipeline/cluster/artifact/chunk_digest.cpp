#include "pipeline/cluster/artifact/chunk_digest.hpp"

#include <openssl/evp.h>

#include <new>

namespace nanobox {

ChunkDigest chunk_digest(std::span<const std::byte> bytes) {
  ChunkDigest digest;
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), &size, EVP_sha256(),
                 nullptr) != 1)
    throw std::bad_alloc();
  return digest;
}

std::string to_text(const ChunkDigest& digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text = "sha256:";
  for (const auto byte : digest) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

}  // namespace nanobox
