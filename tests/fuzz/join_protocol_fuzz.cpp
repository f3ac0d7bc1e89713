// Requests come from anybody who can reach the join port, answers from who poses as a control plane.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "pipeline/cluster/identity/certificate_authority.hpp"
#include "pipeline/cluster/identity/join_protocol.hpp"
#include "pipeline/cluster/identity/join_token.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nanobox;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto request = parse_join_request(text, "0.1.0")) {
    // What is read is written so that it reads the same again.
    const auto again = parse_join_request(to_json(*request), "0.1.0");
    if (!again || !(*again == *request)) std::abort();
    (void)SigningRequest::from_pem(request->csr);
  } else if (request.error().reason.empty()) {
    std::abort();
  }
  if (const auto answer = parse_join_reply(text, "0.1.0")) {
    const auto again = parse_join_reply(to_json(*answer), "0.1.0");
    if (!again || !(*again == *answer)) std::abort();
  } else {
    // Any error can be told to the other end.
    const auto told = parse_join_reply(refusal_json(answer.error()), "0.1.0");
    if (told || told.error().code != answer.error().code) std::abort();
  }
  (void)SigningRequest::from_pem(text);
  (void)Certificate::from_pem(text);
  if (const auto token = parse_join_token(text))
    if (const auto again = parse_join_token(to_string(*token)); !again || !(*again == *token)) std::abort();
  return 0;
}
