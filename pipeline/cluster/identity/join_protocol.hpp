#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "pipeline/cluster/byte_stream.hpp"

namespace nanobox {

/// The form of the messages below. Both ends must speak the same; a refusal has the same form in every version.
inline constexpr std::uint32_t join_protocol_version = 1;
inline constexpr std::string_view join_alpn = "nanobox-join";
/// One message; each goes behind its length (32 bits, big endian).
inline constexpr std::size_t longest_join_message = std::size_t{64} << 10;

/// A node asks for a certificate.
struct JoinRequest {
  std::uint32_t protocol = join_protocol_version;
  std::string program_version;  ///< "0.1.0"
  std::string token;            ///< the secret of a JoinToken; empty: renewal of the certificate shown in TLS
  std::string csr;              ///< PEM
  std::string node_id;          ///< the name it wants; empty: whatever the control plane gives
  bool operator==(const JoinRequest&) const = default;
};

/// A node's place in the cluster.
struct JoinGrant {
  std::string node_id;
  std::string subnet_part;     ///< the sandboxes' network on this node: "10.100.4.0/22"
  std::string cluster_subnet;  ///< of all nodes: "10.100.0.0/16"
  std::string listen_addr;     ///< the control plane's cluster port: "10.0.0.1:7000"
  bool operator==(const JoinGrant&) const = default;
};

struct JoinAnswer {
  std::string certificate;     ///< PEM
  std::string ca_certificate;  ///< PEM
  JoinGrant grant;
  bool operator==(const JoinAnswer&) const = default;
};

std::string to_json(const JoinRequest& request);
std::string to_json(const JoinAnswer& answer);
/// A refusal: code, reason and mend of `error`.
std::string refusal_json(const Error& error);

/// Reads what a stranger sent: every field has its form and its longest length, none is there twice or unknown.
/// @param program  this program's version, for the reason
/// @errors version_incompatible, before anything else is looked at · malformed_json · malformed_request
Result<JoinRequest> parse_join_request(std::string_view text, std::string_view program);
/// Reads an answer; a refusal becomes its error, with `internal` for a code that is not known here. @errors as above
Result<JoinAnswer> parse_join_reply(std::string_view text, std::string_view program);
/// Whether a grant is what `parse_join_reply` takes. @errors malformed_request
Result<void> check_grant(const JoinGrant& grant);

/// @errors body_too_large · those of the stream
Result<void> send_message(ByteStream& stream, std::string_view message);
/// @errors body_too_large: it announces more than `longest_join_message` · those of the stream
Result<std::string> receive_message(ByteStream& stream);

}  // namespace nanobox
