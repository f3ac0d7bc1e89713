#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>

#include "guest/protocol.h"
#include "pipeline/boot/channel/records.hpp"
#include "pipeline/boot/channel/refusal.hpp"
#include "pipeline/boot/channel/session.hpp"

namespace {

constexpr std::uint32_t kStreams = 7, kFile = kStreams;

// One stream of every form: with input, without it, ended by OPENED, lists of records, and a file's.
void open_streams(nanobox::ChannelSession& session) {
  const auto must_open = [](const auto& opened) {
    if (!opened) std::abort();
  };
  for (const bool last : {false, true}) {
    const auto opened = session.open_exec({.argv = {"cat"}});
    if (!opened || !session.write_stdin(*opened, "some input", last)) std::abort();
  }
  must_open(session.open_exec({.argv = {"cat"}, .process_id = "pr-1", .detached = true}));
  must_open(session.open_attach({.process_id = "pr-1"}));
  must_open(session.open_file_list({.path = "/tmp"}));
  session.open_processes();
  if (session.open_file_read({.path = "/etc/passwd"}) != kFile) std::abort();
}

// Whatever the streams carry, it is read as both kinds of record.
void read_records(nanobox::RecordReader& reader, std::span<const std::byte> bytes) {
  reader.feed(bytes);
  while (true) {
    const auto record = reader.next();
    if (!record || !*record) return;
    if ((*record)->size() > NANOBOX_RECORD_MAX) std::abort();
    if (const auto file = nanobox::read_file_entry(**record); file && file->name.find('/') != std::string::npos)
      std::abort();
    (void)nanobox::read_process(**record);
  }
}

}  // namespace

// Whatever a guest sends, the session ends with an error or holds to its credit. The first byte says how the rest
// comes: raw or as the payloads of well-formed frames, which the checksum would keep a fuzzer from, and in pieces of
// which size.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  std::array<std::byte, 16> nonce{};
  for (std::size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<std::byte>(i);
  nanobox::ChannelSession session(nonce, false);
  std::vector<std::byte> stream;
  const bool framed = (data[0] & 1) != 0;
  const std::size_t piece = std::size_t{1} << (data[0] >> 1) % 16;
  auto input = std::as_bytes(std::span(data, size)).subspan(1);
  if (framed) {
    nanobox::TlvWriter acknowledgement;
    acknowledgement.put32(NANOBOX_TAG_VERSION, NANOBOX_PROTOCOL_VERSION);
    acknowledgement.put(NANOBOX_TAG_NONCE, nonce);
    nanobox::append_frame(
        stream, {.type = NANOBOX_HELLO_ACK, .flags = 0, .part = 0, .stream = 0, .payload = acknowledgement.bytes()});
    while (input.size() >= 5) {
      const auto at = [&](std::size_t i) { return std::to_integer<std::uint8_t>(input[i]); };
      const std::size_t length = std::min<std::size_t>(at(4) * (at(1) >= 128 ? 256U : 1U), input.size() - 5);
      nanobox::append_frame(stream, {.type = at(0),
                                     .flags = static_cast<std::uint8_t>(at(1) & 3),
                                     .part = static_cast<std::uint16_t>(at(2) & 3),
                                     .stream = at(3) & 7U,
                                     .payload = input.subspan(5, length)});
      input = input.subspan(5 + length);
    }
  } else {
    stream.assign(input.begin(), input.end());
  }
  std::map<std::uint32_t, std::size_t> received;
  std::map<std::uint32_t, nanobox::RecordReader> readers;
  open_streams(session);
  for (std::size_t done = 0; done < stream.size(); done += piece) {
    const auto events = session.feed(std::span(stream).subspan(done, std::min(piece, stream.size() - done)));
    if (!events) {
      if (session.feed({})) std::abort();
      return 0;
    }
    for (const auto& event : *events) {
      if (const auto* error = std::get_if<nanobox::StreamError>(&event))
        (void)nanobox::refusal_of(*error, "read the file", "/x");
      const auto* bytes = std::get_if<nanobox::StreamData>(&event);
      if (bytes == nullptr) continue;
      const auto cost = bytes->bytes.empty() ? 0 : bytes->bytes.size() + NANOBOX_DATA_COST;
      const auto window = bytes->stream == kFile ? nanobox::ChannelSession::file_window : NANOBOX_INITIAL_CREDIT;
      if ((received[bytes->stream] += cost) > window || bytes->stream > kStreams) std::abort();
      read_records(readers[bytes->stream], bytes->bytes);
    }
  }
  return 0;
}
