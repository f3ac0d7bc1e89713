// A service's answer: the same bytes give the same head and body however they are cut, and nothing else happens.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "http/proxy/response_parser.hpp"

namespace {

using nanobox::http::proxy::ResponseParser;

// Everything that was found, as text; the pieces have `step` bytes.
std::string parse(std::string_view bytes, std::size_t step, bool to_head, bool may_upgrade) {
  ResponseParser parser(to_head, may_upgrade, 4096);
  std::string seen;
  for (std::size_t at = 0;; at += step) {
    if (at < bytes.size())
      parser.append(bytes.substr(at, step));
    else
      parser.end_of_input();
    for (bool more = true; more;) {
      switch (parser.next()) {
        case ResponseParser::Event::need_more:
          more = false;
          break;
        case ResponseParser::Event::head: {
          const auto head = nanobox::http::proxy::stream_head_of(parser.answer());
          seen += std::to_string(head.status) + '#' + std::to_string(head.content_length.value_or(0)) + '\n';
          for (const auto& [name, value] : head.headers) seen += name + ':' + value + '\n';
          break;
        }
        case ResponseParser::Event::body: {
          const auto body = parser.take_body();
          if (body.empty()) std::abort();
          seen += body;
          break;
        }
        case ResponseParser::Event::complete:
          return seen + "whole";
        case ResponseParser::Event::upgraded:
          seen += parser.answer().upgrade + '\n' + parser.take_rest();
          if (at + step < bytes.size()) seen += bytes.substr(at + step);
          return seen;
        case ResponseParser::Event::refused:
          return seen + "refused";
      }
    }
    if (at >= bytes.size()) return seen + "open";
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 3000) return 0;  // below the header limit, whose place depends on the cut
  const std::size_t step = 1 + data[0] % 16;
  const bool to_head = (data[0] & 0x20) != 0;
  const bool may_upgrade = (data[0] & 0x40) != 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (parse(bytes, bytes.size() + 1, to_head, may_upgrade) != parse(bytes, step, to_head, may_upgrade)) std::abort();
  return 0;
}
