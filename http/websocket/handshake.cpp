#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "http/json/text.hpp"
#include "http/origin.hpp"
#include "http/transport/header_list.hpp"
#include "http/websocket.hpp"

namespace nanobox::http {
namespace {

constexpr std::string_view guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455, section 1.3

Error refusal(ErrorCode code, std::string reason, std::string mend) {
  return {
      .code = code, .attempted = "open WebSocket", .subject = {}, .reason = std::move(reason), .mend = std::move(mend)};
}

std::vector<std::string_view> all_of(const Request& request, std::string_view name) {
  std::vector<std::string_view> values;
  for (const auto& header : request.headers)
    if (header.first == name) values.push_back(header.second);
  return values;
}

std::string accept_of(std::string_view key) {
  const auto text = std::string(key) + std::string(guid);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  ::EVP_Digest(text.data(), text.size(), digest.data(), &size, ::EVP_sha1(), nullptr);
  return json::to_base64({reinterpret_cast<const char*>(digest.data()), size});
}

std::string choose_protocol(const Request& request, const std::vector<std::string>& spoken) {
  std::vector<std::string_view> offered;
  for (const auto value : all_of(request, "sec-websocket-protocol"))
    for (const auto item : transport::list_items(value)) offered.push_back(item);
  for (const auto& protocol : spoken)
    if (std::ranges::find(offered, protocol) != offered.end()) return protocol;
  return {};
}

}  // namespace

std::optional<WebSocketHandshake> read_websocket_handshake(const Request& request, Responder& responder,
                                                           WebSocketOptions options) {
  if (request.method != Method::get || request.upgrade != "websocket") {
    responder.send_problem(426,
                           refusal(ErrorCode::malformed_request, "this is a WebSocket",
                                   "connect with a WebSocket client (GET, HTTP/1.1, Upgrade: websocket)"),
                           {{"Upgrade", "websocket"}, {"Connection", "Upgrade"}});
    return std::nullopt;
  }
  if (const auto versions = all_of(request, "sec-websocket-version"); versions.size() != 1 || versions[0] != "13") {
    responder.send_problem(426, refusal(ErrorCode::malformed_request, "only version 13 is spoken", "use version 13"),
                           {{"Upgrade", "websocket"}, {"Connection", "Upgrade"}, {"Sec-WebSocket-Version", "13"}});
    return std::nullopt;
  }
  const auto keys = all_of(request, "sec-websocket-key");
  const auto nonce = keys.size() == 1 ? json::from_base64(keys[0]) : std::nullopt;
  if (!nonce || nonce->size() != 16) {
    responder.send_problem(
        refusal(ErrorCode::malformed_request, "Sec-WebSocket-Key is not 16 bytes in base64, given once", "send one"));
    return std::nullopt;
  }
  if (!is_same_origin(request)) {
    responder.send_problem(refusal(ErrorCode::forbidden, "the Origin is another one than the Host's",
                                   "connect from a page of this server, or from a program without Origin"));
    return std::nullopt;
  }
  auto protocol = choose_protocol(request, options.protocols);
  return WebSocketHandshake{
      .accept = accept_of(keys[0]), .protocol = std::move(protocol), .options = std::move(options)};
}

}  // namespace nanobox::http
