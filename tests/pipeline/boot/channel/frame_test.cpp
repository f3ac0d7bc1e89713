#include "pipeline/boot/channel/frame.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "guest/protocol.h"
#include "tests/pipeline/boot/channel/known_answers.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

std::vector<std::byte> bytes_of(const Frame& frame) {
  std::vector<std::byte> bytes;
  append_frame(bytes, frame);
  return bytes;
}

const std::vector<std::byte> acknowledgement =
    bytes_of({.type = NANOBOX_HELLO_ACK, .flags = 0, .part = 0, .stream = 0, .payload = {}});

FrameDecoder following() {
  FrameDecoder decoder;
  decoder.follow();
  return decoder;
}

}  // namespace

TEST_CASE("the checksum is CRC-32C", "[channel]") {
  CHECK(nanobox_crc32c(0, "123456789", 9) == 0xE3069283);
  CHECK(nanobox_crc32c_by_table(0, "123456789", 9) == 0xE3069283);
}

TEST_CASE("the checksum goes on over pieces, however it is computed", "[channel]") {
  std::vector<std::uint8_t> bytes(1000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 7 + i / 13);
  const auto whole = nanobox_crc32c_by_table(0, bytes.data(), bytes.size());
  for (const std::size_t cut : {0U, 1U, 7U, 8U, 500U, 999U, 1000U})
    CHECK(nanobox_crc32c(nanobox_crc32c(0, bytes.data(), cut), bytes.data() + cut, bytes.size() - cut) == whole);
}

TEST_CASE("frames are the known ones, byte for byte", "[channel]") {
  for (const auto& known : known_frames()) {
    INFO(known.name);
    const auto payload = std::as_bytes(std::span(known.payload));
    const auto expected = std::as_bytes(std::span(known.bytes));
    CHECK(std::ranges::equal(bytes_of({.type = static_cast<std::uint8_t>(known.type),
                                       .flags = static_cast<std::uint8_t>(known.flags),
                                       .part = static_cast<std::uint16_t>(known.part),
                                       .stream = known.stream,
                                       .payload = payload}),
                             expected));
    auto decoder = following();
    decoder.feed(expected);
    const auto frame = decoder.next();
    REQUIRE((frame && *frame));
    CHECK((*frame)->type == known.type);
    CHECK((*frame)->flags == known.flags);
    CHECK((*frame)->part == known.part);
    CHECK((*frame)->stream == known.stream);
    CHECK(std::ranges::equal((*frame)->payload, payload));
    CHECK_FALSE(decoder.next()->has_value());
  }
}

TEST_CASE("frames come in pieces of any size, with zeros between them", "[channel]") {
  std::vector<std::byte> stream;
  for (const auto& known : known_frames()) {
    const auto bytes = std::as_bytes(std::span(known.bytes));
    stream.insert(stream.end(), bytes.begin(), bytes.end());
    stream.resize(stream.size() + 5);
  }
  for (const std::size_t piece : {1U, 3U, 16U, 1000U}) {
    auto decoder = following();
    std::size_t count = 0;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      decoder.feed(std::span(stream).subspan(at, std::min(piece, stream.size() - at)));
      while (decoder.next()->has_value()) ++count;
    }
    CHECK(count == known_frames().size());
  }
}

TEST_CASE("every changed bit of a frame is noticed", "[channel]") {
  const auto good = bytes_of({.type = NANOBOX_PONG, .flags = 0, .part = 0, .stream = 0, .payload = acknowledgement});
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bad = good;
    bad[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    auto decoder = following();
    decoder.feed(bad);
    const auto frame = decoder.next();
    const bool accepted = frame && frame->has_value();
    CHECK_FALSE(accepted);
  }
}

TEST_CASE("a frame that announces too much is refused before it comes", "[channel]") {
  std::uint8_t header[NANOBOX_FRAME_HEADER] = {NANOBOX_DATA};
  nanobox_put32(header + 8, NANOBOX_FRAME_PAYLOAD_MAX + 1);
  auto decoder = following();
  decoder.feed(std::as_bytes(std::span(header)));
  const auto frame = decoder.next();
  REQUIRE_FALSE(frame);
  CHECK(frame.error().code == ErrorCode::guest_protocol);
  CHECK(frame.error().reason == "it sent a frame of 65537 bytes");
}

TEST_CASE("the search finds the acknowledgement behind anything", "[channel]") {
  FrameDecoder decoder;
  std::vector<std::byte> stream(1000, std::byte{NANOBOX_HELLO_ACK});
  const auto other = bytes_of({.type = NANOBOX_DATA, .flags = 0, .part = 1, .stream = 9, .payload = stream});
  stream.insert(stream.end(), other.begin(), other.end() - 3);
  stream.insert(stream.end(), acknowledgement.begin(), acknowledgement.end());
  decoder.feed(stream);
  const auto frame = decoder.next();
  REQUIRE((frame && *frame));
  CHECK((*frame)->type == NANOBOX_HELLO_ACK);
}

TEST_CASE("a guest that never acknowledges is given up", "[channel]") {
  FrameDecoder decoder;
  const std::vector<std::byte> noise(1U << 20, std::byte{NANOBOX_DATA});
  int fed = 0;
  for (; fed < 100; ++fed) {
    decoder.feed(noise);
    const auto frame = decoder.next();
    if (!frame) {
      CHECK(frame.error().reason == "it sends, but never answered HELLO");
      break;
    }
    CHECK_FALSE(frame->has_value());
  }
  CHECK(fed < 20);
}
