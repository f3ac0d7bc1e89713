#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>

#include "tests/pipeline/boot/channel/known_answers.hpp"

extern "C" {
#include "guest/init/frames.h"
}

using namespace nanobox::test;

namespace {

// frames_take has no context argument: what it hands over is gathered here.
std::vector<KnownFrame>& taken() {
  static std::vector<KnownFrame> frames;
  return frames;
}

void gather(std::uint8_t type, std::uint8_t flags, std::uint16_t part, std::uint32_t stream,
            const std::uint8_t* payload, std::uint32_t length) {
  taken().push_back({.name = {},
                     .type = type,
                     .flags = flags,
                     .part = part,
                     .stream = stream,
                     .payload = {payload, payload + length},
                     .bytes = {}});
}

/// What the guest takes from `bytes` that come in pieces of `piece`.
std::vector<KnownFrame> take(const std::vector<std::uint8_t>& bytes, std::size_t piece) {
  taken().clear();
  const auto parser = std::make_unique<frame_parser>();
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    const auto count = std::min(piece, bytes.size() - at);
    std::memcpy(parser->bytes + parser->used, bytes.data() + at, count);
    parser->used += count;
    frames_take(parser.get(), gather);
  }
  return taken();
}

}  // namespace

TEST_CASE("the guest reads the known frames, in pieces of any size", "[guest]") {
  std::vector<std::uint8_t> bytes;
  for (const auto& known : known_frames()) bytes.insert(bytes.end(), known.bytes.begin(), known.bytes.end());
  const auto piece = GENERATE(std::size_t{1}, std::size_t{7}, std::size_t{4096});

  const auto frames = take(bytes, piece);

  REQUIRE(frames.size() == known_frames().size());
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto known = known_frames()[i];
    INFO(known.name);
    CHECK(frames[i].type == known.type);
    CHECK(frames[i].flags == known.flags);
    CHECK(frames[i].part == known.part);
    CHECK(frames[i].stream == known.stream);
    CHECK(frames[i].payload == known.payload);
  }
}

TEST_CASE("the guest writes the known frames' headers", "[guest]") {
  for (const auto& known : known_frames()) {
    INFO(known.name);
    std::array<std::uint8_t, NANOBOX_FRAME_HEADER> header{};
    nanobox_put_header(header.data(), static_cast<std::uint8_t>(known.type), static_cast<std::uint8_t>(known.flags),
                       static_cast<std::uint16_t>(known.part), known.stream, known.payload.data(),
                       static_cast<std::uint32_t>(known.payload.size()));
    CHECK(std::equal(header.begin(), header.end(), known.bytes.begin()));
  }
}

TEST_CASE("after a broken frame the guest believes nothing but a HELLO", "[guest]") {
  const auto known = known_frames();
  const auto& hello = known.at(0);
  const auto& ping = *std::find_if(known.begin(), known.end(), [](const auto& frame) { return frame.name == "ping"; });
  auto bytes = ping.bytes;
  bytes.back() ^= 1;
  bytes.insert(bytes.end(), ping.bytes.begin(), ping.bytes.end());
  bytes.insert(bytes.end(), hello.bytes.begin(), hello.bytes.end());
  bytes.insert(bytes.end(), ping.bytes.begin(), ping.bytes.end());

  const auto frames = take(bytes, bytes.size());

  REQUIRE(frames.size() == 2);
  CHECK(frames[0].type == NANOBOX_HELLO);
  CHECK(frames[1].type == NANOBOX_PING);
}
