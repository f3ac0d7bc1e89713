#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

extern "C" {
#include "guest/init/frames.h"
#include "guest/init/init.h"
}

namespace {

// Every byte of a frame is looked at as the guest would: as a list, and as text.
void look_at(std::uint8_t type, std::uint8_t, std::uint16_t, std::uint32_t, const std::uint8_t* payload,
             std::uint32_t length) {
  if (type == 0 || length > NANOBOX_FRAME_PAYLOAD_MAX) std::abort();
  tlv_reader reader{payload, payload + length};
  tlv entry;
  while (tlv_next(&reader, &entry) > 0) {
    if (entry.value + entry.length > payload + length) std::abort();
    std::free(tlv_text(&entry));
    (void)tlv_u32(&entry);
    (void)tlv_u64(&entry);
  }
  const tlv_reader whole{payload, payload + length};
  for (const std::uint16_t tag : {NANOBOX_TAG_KIND, NANOBOX_TAG_PROCESS_ID, NANOBOX_TAG_OFFSET, NANOBOX_TAG_PORT}) {
    (void)tlv_find_u32(whole, tag);
    (void)tlv_find_u64(whole, tag);
    if (tlv_has(whole, tag) && (!tlv_find(whole, tag, &entry) || entry.tag != tag)) std::abort();
  }
}

}  // namespace

// The guest's parser keeps its bounds whatever comes in whatever pieces, and always has room for more.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const auto parser = std::make_unique<frame_parser>();
  const std::size_t piece = std::size_t{1} << data[0] % 18;
  const bool framed = (data[0] & 64) != 0;
  const std::uint8_t* at = data + 1;
  std::size_t left = size - 1;
  while (left > 0) {
    std::size_t count = std::min(left, piece);
    if (framed) {  // as the payload of a frame with a right checksum
      count = std::min<std::size_t>(count, NANOBOX_FRAME_PAYLOAD_MAX);
      if (sizeof parser->bytes - parser->used < count + NANOBOX_FRAME_HEADER) std::abort();
      nanobox_put_header(parser->bytes + parser->used, NANOBOX_OPEN, 0, 0, 1, at, static_cast<std::uint32_t>(count));
      std::memcpy(parser->bytes + parser->used + NANOBOX_FRAME_HEADER, at, count);
      parser->used += NANOBOX_FRAME_HEADER + count;
    } else {
      count = std::min(count, sizeof parser->bytes - parser->used);
      std::memcpy(parser->bytes + parser->used, at, count);
      parser->used += count;
    }
    at += count;
    left -= count;
    frames_take(parser.get(), look_at);
    if (parser->used >= NANOBOX_FRAME_HEADER + NANOBOX_FRAME_PAYLOAD_MAX) std::abort();
  }
  return 0;
}
