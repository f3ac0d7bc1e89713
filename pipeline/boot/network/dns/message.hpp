#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

/// The types somebody here looks at; any other number is a type too (RFC 1035 section 3.2.2, IANA's registry).
enum class DnsType : std::uint16_t {
  a = 1,
  ns = 2,
  cname = 5,
  soa = 6,
  ptr = 12,
  mx = 15,
  txt = 16,
  aaaa = 28,
  srv = 33,
  dname = 39,
  opt = 41,
  rrsig = 46,
  nsec = 47,
  nsec3 = 50,
  svcb = 64,
  https = 65,
  ixfr = 251,
  axfr = 252,
  any = 255
};

/// With EDNS of 12 bits (RFC 1035 section 4.1.1, RFC 6891 section 6.1.3).
enum class DnsRcode : std::uint16_t {
  no_error = 0,
  format_error = 1,
  server_failure = 2,
  name_error = 3,
  not_implemented = 4,
  refused = 5,
  bad_version = 16
};

/// Whether somebody knew, if only that there is no such name.
constexpr bool is_answer(DnsRcode rcode) {
  return rcode == DnsRcode::no_error || rcode == DnsRcode::name_error;
}

inline constexpr std::uint16_t kDnsClassIn = 1;
inline constexpr std::size_t kDnsHeaderBytes = 12;
inline constexpr std::size_t kDnsMessageMax = 65'535;

/// RFC 1035 section 4.1.1; AD and CD: RFC 4035 section 3.2.
struct DnsHeader {
  std::uint16_t id = 0;
  bool response = false;
  std::uint8_t opcode = 0;  ///< 0 is QUERY
  bool authoritative = false;
  bool truncated = false;
  bool recursion_desired = false;
  bool recursion_available = false;
  bool authentic = false;
  bool checking_disabled = false;
  DnsRcode rcode = DnsRcode::no_error;
};

/// RFC 1035 section 4.1.2. Names are in presentation form without the last dot ("." is the root), at most 255 bytes in
/// a message; what is no printable ASCII, a dot or a backslash inside a label is written \DDD.
struct DnsQuestion {
  std::string name;      ///< lower case
  std::string spelling;  ///< as it was asked: answers repeat it
  DnsType type = DnsType::a;
  std::uint16_t klass = kDnsClassIn;
};

/// RFC 1035 section 4.1.3.
struct DnsRecord {
  std::string name;  ///< lower case
  DnsType type = DnsType::a;
  std::uint16_t klass = kDnsClassIn;
  std::uint32_t ttl = 0;        ///< seconds
  std::vector<std::byte> data;  ///< names in it are not compressed (RFC 3597 section 4)
  std::string target;           ///< of a CNAME only: lower case

  /// The address of an A record (host byte order); of an AAAA record.
  std::optional<std::uint32_t> ipv4() const;
  std::optional<std::array<std::uint8_t, 16>> ipv6() const;
};

/// The OPT record (RFC 6891 section 6.1). Options are between neighbours only and not kept.
struct DnsEdns {
  std::uint16_t udp_bytes = 1232;  ///< what its sender can take
  std::uint8_t version = 0;
  bool dnssec_ok = false;
  std::optional<std::uint16_t> extended_error;  ///< written only (RFC 8914)
};

struct DnsMessage {
  DnsHeader header;
  DnsQuestion question;
  std::vector<DnsRecord> answers, authority, additional;  ///< the last without OPT
  std::optional<DnsEdns> edns;
};

/// Nothing: there are not 12 bytes.
std::optional<DnsHeader> parse_dns_header(std::span<const std::byte> bytes);

/// Reads a message with exactly one question. A pointer in a name must point before the piece of name it ends, so
/// that names end; nothing outside of `bytes` is read; bytes behind the last record are ignored.
/// @errors malformed_request
Result<DnsMessage> parse_dns_message(std::span<const std::byte> bytes);

/// At most `limit` bytes: where records do not fit none are written and TC is set (RFC 1035 section 4.1.1, RFC 2181
/// section 9). Without a question where its name is empty.
std::vector<std::byte> write_dns_message(const DnsMessage& message, std::size_t limit = kDnsMessageMax);

/// An answer without records to a query: its id, question, RD and CD; EDNS where the query has it.
DnsMessage dns_reply(const DnsMessage& query, DnsRcode rcode);

/// An answer to a query that could not be read beyond its header.
std::vector<std::byte> dns_error_reply(const DnsHeader& query, DnsRcode rcode);

DnsRecord dns_a_record(std::string name, std::uint32_t address, std::uint32_t ttl);

/// ASCII only (RFC 4343).
std::string dns_lower(std::string_view name);

}  // namespace nanobox
