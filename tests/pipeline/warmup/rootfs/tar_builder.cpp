#include "tests/pipeline/warmup/rootfs/tar_builder.hpp"

#include <isa-l/igzip_lib.h>
#include <openssl/evp.h>
#include <zstd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

namespace nanobox::test {

namespace {

constexpr std::size_t kBlock = 512;

std::string padded(std::string_view bytes) {
  std::string out(bytes);
  out.resize((out.size() + kBlock - 1) / kBlock * kBlock, '\0');
  return out;
}

void put_octal(std::string& header, std::size_t at, std::size_t size, std::int64_t value) {
  const auto limit = std::int64_t{1} << (3 * (size - 1));
  if (value >= 0 && (size > 11 || value < limit)) {
    std::array<char, 32> text;
    std::snprintf(text.data(), text.size(), "%0*llo", static_cast<int>(size - 1),
                  static_cast<unsigned long long>(value));
    header.replace(at, size - 1, text.data(), size - 1);
    return;
  }
  for (std::size_t i = size; i-- != 0; value >>= 8) header[at + i] = static_cast<char>(value & 0xFF);
  header[at] = static_cast<char>((value < 0 ? 0xFF : 0x80));
}

}  // namespace

std::string tar_header(std::string_view path, char type, std::uint64_t size, const Member& member) {
  std::string header(kBlock, '\0');
  header.replace(0, std::min<std::size_t>(path.size(), 100), path.substr(0, 100));
  put_octal(header, 100, 8, member.mode);
  put_octal(header, 108, 8, member.uid);
  put_octal(header, 116, 8, member.gid);
  put_octal(header, 124, 12, static_cast<std::int64_t>(size));
  put_octal(header, 136, 12, member.mtime);
  header[156] = type;
  header.replace(157, std::min<std::size_t>(member.link.size(), 100), member.link.substr(0, 100));
  header.replace(257, 8, std::string_view("ustar\00000", 8));
  put_octal(header, 329, 8, member.major);
  put_octal(header, 337, 8, member.minor);
  header.replace(148, 8, 8, ' ');
  unsigned sum = 0;
  for (const char byte : header) sum += static_cast<unsigned char>(byte);
  put_octal(header, 148, 7, sum);
  return header;
}

std::string pax_records(const std::map<std::string, std::string>& records) {
  std::string out;
  for (const auto& [key, value] : records) {
    const auto body = " " + key + "=" + value + "\n";
    auto size = body.size() + 1;
    while (std::to_string(size).size() + body.size() != size) size = std::to_string(size).size() + body.size();
    out += std::to_string(size) + body;
  }
  return out;
}

TarBuilder& TarBuilder::add(const Member& member) {
  auto pax = member.pax;
  if (member.path.size() > 100) pax.emplace("path", member.path);
  if (member.link.size() > 100) pax.emplace("linkpath", member.link);
  for (const auto& [name, value] : member.xattrs) pax["SCHILY.xattr." + name] = value;
  if (!pax.empty()) {
    const auto records = pax_records(pax);
    bytes_ += tar_header("pax", 'x', records.size()) + padded(records);
  }
  bytes_ += tar_header(member.path, member.type, member.data.size(), member) + padded(member.data);
  return *this;
}

TarBuilder& TarBuilder::raw(std::string_view bytes) {
  bytes_ += padded(bytes);
  return *this;
}

std::string gzipped(std::string_view bytes) {
  isal_zstream stream;
  isal_deflate_init(&stream);
  std::vector<std::uint8_t> level(ISAL_DEF_LVL1_DEFAULT);
  stream.level = 1;
  stream.level_buf = level.data();
  stream.level_buf_size = static_cast<std::uint32_t>(level.size());
  stream.gzip_flag = IGZIP_GZIP;
  stream.end_of_stream = 1;
  stream.next_in = reinterpret_cast<std::uint8_t*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<std::uint32_t>(bytes.size());
  std::string out;
  std::array<char, 65536> piece;
  do {
    stream.next_out = reinterpret_cast<std::uint8_t*>(piece.data());
    stream.avail_out = piece.size();
    if (isal_deflate(&stream) != COMP_OK) throw std::runtime_error("gzip");
    out.append(piece.data(), piece.size() - stream.avail_out);
  } while (stream.internal_state.state != ZSTATE_END);
  return out;
}

std::string zstd_compressed(std::string_view bytes, int window_log) {
  const std::unique_ptr<ZSTD_CCtx, std::size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  if (window_log != 0) {
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, window_log);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);
  }
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  // Two steps: in one, zstd would know the size and shrink the window.
  ZSTD_compressStream2(context.get(), &to, &in, ZSTD_e_continue);
  if (ZSTD_compressStream2(context.get(), &to, &in, ZSTD_e_end) != 0) throw std::runtime_error("zstd");
  out.resize(to.pos);
  return out;
}

std::string sha256_digest(std::string_view bytes) {
  std::array<unsigned char, 32> digest;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  std::string text = "sha256:";
  for (const auto byte : digest) {
    std::array<char, 3> hex;
    std::snprintf(hex.data(), hex.size(), "%02x", byte);
    text += hex.data();
  }
  return text;
}

}  // namespace nanobox::test
