// Request framing: the same bytes give the same requests however they are cut, and nothing else happens.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "http/percent.hpp"
#include "http/router.hpp"
#include "http/transport/request_framer.hpp"

namespace {

using nanobox::http::transport::RequestFramer;

constexpr std::size_t body_limit = 1000;

// Everything that was found, as text; the pieces have `step` bytes.
std::string frame(std::string_view bytes, std::size_t step) {
  RequestFramer framer(4096);
  std::string seen;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    framer.append(bytes.substr(at, step));
    for (bool more = true; more;) {
      switch (framer.next()) {
        case RequestFramer::Event::need_more:
          more = false;
          break;
        case RequestFramer::Event::head: {
          const auto& head = framer.head();
          seen += head.method + ' ' + head.path + '?' + head.query + '\n';
          for (const auto& [name, value] : head.headers) seen += name + ':' + value + '\n';
          framer.accept_body(body_limit);
          break;
        }
        case RequestFramer::Event::complete: {
          const auto body = framer.take_body();
          if (body.size() > body_limit) std::abort();
          seen += body + "\n;\n";
          framer.restart();
          break;
        }
        case RequestFramer::Event::refused:
          return seen + "refused";
      }
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 3000) return 0;  // below the header limit, whose place depends on the cut
  const std::size_t step = 1 + data[0] % 16;
  // With an end to the last head: when a head without one is found wrong depends on the cut.
  const auto text = std::string(reinterpret_cast<const char*>(data) + 1, size - 1) + "\r\n\r\n";
  const std::string_view bytes = text;
  const auto whole = frame(bytes, bytes.size() + 1);
  const auto cut = frame(bytes, step);
  if (whole != cut) std::abort();
  (void)nanobox::http::decode_query(bytes);
  static const auto router = [] {
    nanobox::http::Router made;
    made.add(nanobox::http::Method::get, "/a/{id}/b/{rest...}", {});
    made.add(nanobox::http::Method::get, "/a/{id}", {});
    return made;
  }();
  (void)router.find(nanobox::http::Method::get, bytes);
  return 0;
}
