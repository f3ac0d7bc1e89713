#include "pipeline/cluster/artifact/message.hpp"

#include <array>

#include "pipeline/cluster/artifact/byte_codec.hpp"
#include "pipeline/cluster/artifact/limits.hpp"
#include "pipeline/cluster/artifact/manifest.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kLongestText = 3000;

tl::unexpected<Error> broken(std::string subject, std::string reason) {
  return fail({.code = ErrorCode::peer_untrusted,
               .attempted = "read a message about an artifact",
               .subject = std::move(subject),
               .reason = std::move(reason),
               .mend = ""});
}

ErrorCode code_named(std::string_view name) {
  constexpr std::array kCodes = {
#define NANOBOX_X(name) ErrorCode::name,
      NANOBOX_ERROR_CODES(NANOBOX_X)
#undef NANOBOX_X
  };
  for (const auto code : kCodes)
    if (to_string(code) == name) return code;
  return ErrorCode::internal;
}

std::string clean(std::string text) {
  text.resize(std::min(text.size(), kLongestText));
  for (auto& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  return text;
}

}  // namespace

std::vector<std::byte> encode(const GetMessage& message) {
  ByteWriter writer;
  writer.text(message.ticket);
  writer.text(message.name);
  return writer.take();
}

Result<GetMessage> decode_get(std::span<const std::byte> content) {
  ByteReader reader(content);
  GetMessage message;
  message.ticket = reader.text();
  message.name = reader.text();
  if (!reader.at_end()) return broken("get", "its length is wrong");
  if (message.ticket.size() > kMostTicketBytes) return broken("get", "the ticket is too long");
  if (!is_artifact_name(message.name)) return broken("get", "the artifact's name is not a plain one");
  return message;
}

std::vector<std::byte> encode(const ChunksMessage& message) {
  ByteWriter writer;
  writer.number(message.first);
  writer.number(message.count);
  return writer.take();
}

Result<ChunksMessage> decode_chunks(std::span<const std::byte> content, std::uint64_t chunks) {
  ByteReader reader(content);
  const ChunksMessage message{.first = reader.number<std::uint64_t>(), .count = reader.number<std::uint32_t>()};
  if (!reader.at_end()) return broken("chunks", "its length is wrong");
  if (message.count == 0 || message.count > kMostChunksRequested || message.first >= chunks ||
      message.count > chunks - message.first)
    return broken("chunks", "there are no such chunks");
  return message;
}

std::vector<std::byte> encode(const PreparingMessage& message) {
  ByteWriter writer;
  writer.number(message.done);
  writer.number(message.total);
  return writer.take();
}

Result<PreparingMessage> decode_preparing(std::span<const std::byte> content) {
  ByteReader reader(content);
  const PreparingMessage message{.done = reader.number<std::uint64_t>(), .total = reader.number<std::uint64_t>()};
  if (!reader.at_end()) return broken("preparing", "its length is wrong");
  return message;
}

std::vector<std::byte> encode(const Error& refusal) {
  ByteWriter writer;
  writer.text(to_string(refusal.code));
  for (const auto* text : {&refusal.attempted, &refusal.subject, &refusal.reason, &refusal.mend})
    writer.text(std::string_view(*text).substr(0, kLongestText));
  writer.number(static_cast<std::uint8_t>(refusal.transient));
  writer.number(refusal.retry_after_sec);
  return writer.take();
}

Result<Error> decode_refusal(std::span<const std::byte> content) {
  ByteReader reader(content);
  Error error;
  error.code = code_named(reader.text());
  for (auto* text : {&error.attempted, &error.subject, &error.reason, &error.mend}) *text = clean(reader.text());
  error.transient = reader.number<std::uint8_t>() != 0;
  error.retry_after_sec = reader.number<std::uint32_t>();
  if (!reader.at_end()) return broken("refused", "its length is wrong");
  return error;
}

}  // namespace nanobox
