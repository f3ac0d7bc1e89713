#include "pipeline/boot/network/dns/message.hpp"

#include <algorithm>
#include <unordered_map>

namespace nanobox {

namespace {

constexpr std::size_t kNameMax = 255;
constexpr std::size_t kLabelMax = 63;
constexpr std::size_t kPointerReach = 0x4000;
constexpr std::uint8_t kPointer = 0xC0;
constexpr std::uint32_t kDnssecOk = 0x8000;
constexpr std::uint16_t kExtendedErrorOption = 15;
// RFC 2181 section 8: of a TTL with the first bit set nothing is to be believed.
constexpr std::uint32_t kTtlMax = 0x7FFFFFFF;

tl::unexpected<Error> malformed(std::string reason) {
  return fail({.code = ErrorCode::malformed_request,
               .attempted = "read DNS message",
               .subject = "",
               .reason = std::move(reason),
               .mend = ""});
}

/// Where names are in the data of the types that may compress them (RFC 3597 section 4).
struct NamesInData {
  std::uint16_t type;
  std::size_t before;
  unsigned names;
  std::size_t after;
};
constexpr NamesInData kNamesInData[] = {
    {2, 0, 1, 0},   // NS
    {3, 0, 1, 0},   // MD
    {4, 0, 1, 0},   // MF
    {5, 0, 1, 0},   // CNAME
    {6, 0, 2, 20},  // SOA
    {7, 0, 1, 0},   // MB
    {8, 0, 1, 0},   // MG
    {9, 0, 1, 0},   // MR
    {12, 0, 1, 0},  // PTR
    {14, 0, 2, 0},  // MINFO
    {15, 2, 1, 0},  // MX
    {17, 0, 2, 0},  // RP
    {18, 2, 1, 0},  // AFSDB
    {21, 2, 1, 0},  // RT
    {26, 2, 2, 0},  // PX
    {33, 6, 1, 0},  // SRV
    {36, 2, 1, 0},  // KX
    {39, 0, 1, 0},  // DNAME
};

class Reader {
public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes), end_(bytes.size()) {}

  std::size_t at() const { return at_; }
  std::size_t left() const { return end_ - at_; }

  Result<std::uint16_t> number16() {
    if (left() < 2) return malformed("it is cut off");
    const auto value = static_cast<std::uint16_t>(octet(at_) << 8 | octet(at_ + 1));
    at_ += 2;
    return value;
  }

  Result<std::uint32_t> number32() {
    const std::uint32_t high = NANOBOX_TRY(number16());
    return high << 16 | NANOBOX_TRY(number16());
  }

  Result<std::span<const std::byte>> take(std::size_t count) {
    if (left() < count) return malformed("it is cut off");
    at_ += count;
    return bytes_.subspan(at_ - count, count);
  }

  /// A name as it is in a message, without compression.
  Result<std::vector<std::byte>> name() {
    std::vector<std::byte> wire;
    std::size_t at = at_, end = end_, piece = at_;
    bool followed = false;
    for (;;) {
      if (at >= end) return malformed("a name is cut off");
      const std::uint8_t length = octet(at);
      if (length >= kPointer) {
        if (end - at < 2) return malformed("a name is cut off");
        const std::size_t to = std::size_t{length & 0x3FU} << 8 | octet(at + 1);
        if (!followed) at_ = at + 2;
        if (to >= piece || to < kDnsHeaderBytes) return malformed("a name's pointer does not point back");
        followed = true;
        at = piece = to;
        end = bytes_.size();
        continue;
      }
      if (length > kLabelMax) return malformed("a label has a type that nobody uses");
      if (end - at < std::size_t{1} + length) return malformed("a name is cut off");
      if (wire.size() + 1 + length > kNameMax) return malformed("a name is longer than 255 bytes");
      const auto label = bytes_.subspan(at, std::size_t{1} + length);
      wire.insert(wire.end(), label.begin(), label.end());
      at += std::size_t{1} + length;
      if (length == 0) break;
    }
    if (!followed) at_ = at;
    return wire;
  }

  /// The same message, up to `count` bytes from here.
  Result<Reader> part(std::size_t count) {
    Reader reader = *this;
    NANOBOX_TRY(take(count));
    reader.end_ = at_;
    return reader;
  }

private:
  std::uint8_t octet(std::size_t at) const { return std::to_integer<std::uint8_t>(bytes_[at]); }

  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  std::size_t end_;
};

std::string text_of(std::span<const std::byte> wire) {
  std::string text;
  for (std::size_t at = 0; wire[at] != std::byte{0};) {
    if (!text.empty()) text += '.';
    const auto length = std::to_integer<std::size_t>(wire[at]);
    for (const std::byte one : wire.subspan(at + 1, length)) {
      const auto value = std::to_integer<unsigned>(one);
      if (value > ' ' && value < 0x7F && value != '.' && value != '\\') {
        text += static_cast<char>(value);
      } else {
        text += '\\';
        for (const unsigned place : {100U, 10U, 1U}) text += static_cast<char>('0' + value / place % 10);
      }
    }
    at += 1 + length;
  }
  return text.empty() ? "." : text;
}

Result<std::string> read_lower_name(Reader& reader) {
  return dns_lower(text_of(NANOBOX_TRY(reader.name())));
}

Result<void> read_data(Reader data, DnsRecord& record) {
  const auto* form = std::ranges::find(kNamesInData, static_cast<std::uint16_t>(record.type),
                                       [](const auto& one) { return one.type; });
  const auto append = [&](std::span<const std::byte> bytes) {
    record.data.insert(record.data.end(), bytes.begin(), bytes.end());
  };
  if (form == std::end(kNamesInData)) {
    append(NANOBOX_TRY(data.take(data.left())));
  } else {
    append(NANOBOX_TRY(data.take(form->before)));
    for (unsigned i = 0; i < form->names; ++i) {
      const auto name = NANOBOX_TRY(data.name());
      append(name);
      if (record.type == DnsType::cname) record.target = dns_lower(text_of(name));
    }
    append(NANOBOX_TRY(data.take(form->after)));
    if (data.left() != 0) return malformed("a record is longer than its type");
  }
  if (record.klass == kDnsClassIn && ((record.type == DnsType::a && record.data.size() != 4) ||
                                      (record.type == DnsType::aaaa && record.data.size() != 16)))
    return malformed("an address has a wrong length");
  return {};
}

Result<DnsRecord> read_record(Reader& reader) {
  DnsRecord record;
  record.name = NANOBOX_TRY(read_lower_name(reader));
  record.type = static_cast<DnsType>(NANOBOX_TRY(reader.number16()));
  record.klass = NANOBOX_TRY(reader.number16());
  record.ttl = NANOBOX_TRY(reader.number32());
  const auto length = NANOBOX_TRY(reader.number16());
  NANOBOX_TRY(read_data(NANOBOX_TRY(reader.part(length)), record));
  return record;
}

Result<void> take_edns(DnsMessage& message, const DnsRecord& opt) {
  if (message.edns) return malformed("it has two OPT records");
  if (opt.name != ".") return malformed("its OPT record has a name");
  message.edns = DnsEdns{.udp_bytes = opt.klass,
                         .version = static_cast<std::uint8_t>(opt.ttl >> 16),
                         .dnssec_ok = (opt.ttl & kDnssecOk) != 0,
                         .extended_error = {}};
  message.header.rcode = static_cast<DnsRcode>((opt.ttl >> 24) << 4 | static_cast<std::uint32_t>(message.header.rcode));
  return {};
}

class Writer {
public:
  std::vector<std::byte> bytes;

  void number8(unsigned value) { bytes.push_back(static_cast<std::byte>(value)); }
  void number16(unsigned value) {
    number8(value >> 8);
    number8(value);
  }
  void number32(std::uint32_t value) {
    number16(value >> 16);
    number16(value & 0xFFFF);
  }
  void set16(std::size_t at, std::size_t value) {
    bytes[at] = static_cast<std::byte>(value >> 8);
    bytes[at + 1] = static_cast<std::byte>(value);
  }

  /// Presentation form; a suffix that is in the message already becomes a pointer to it.
  void name(std::string_view text) {
    for (std::string_view rest = text == "." ? "" : text; !rest.empty();) {
      auto key = dns_lower(rest);
      if (const auto found = known_.find(key); found != known_.end()) {
        number16(kPointer << 8 | found->second);
        return;
      }
      if (bytes.size() < kPointerReach) known_.emplace(std::move(key), static_cast<std::uint16_t>(bytes.size()));
      const auto dot = std::min(rest.find('.'), rest.size());
      label(rest.substr(0, dot));
      rest.remove_prefix(std::min(dot + 1, rest.size()));
    }
    number8(0);
  }

  void header(const DnsMessage& message, bool truncated) {
    const auto& header = message.header;
    number16(header.id);
    number16((header.response ? 0x8000U : 0) | (header.opcode & 0xFU) << 11 | (header.authoritative ? 0x400U : 0) |
             (truncated ? 0x200U : 0) | (header.recursion_desired ? 0x100U : 0) |
             (header.recursion_available ? 0x80U : 0) | (header.authentic ? 0x20U : 0) |
             (header.checking_disabled ? 0x10U : 0) | (static_cast<unsigned>(header.rcode) & 0xFU));
  }

  void record(const DnsRecord& record) {
    name(record.name);
    number16(static_cast<unsigned>(record.type));
    number16(record.klass);
    number32(record.ttl);
    const auto length_at = bytes.size();
    number16(0);
    if (record.type == DnsType::cname)
      name(record.target);
    else
      bytes.insert(bytes.end(), record.data.begin(), record.data.end());
    set16(length_at, bytes.size() - length_at - 2);
  }

  void opt(const DnsEdns& edns, DnsRcode rcode) {
    number8(0);
    number16(static_cast<unsigned>(DnsType::opt));
    number16(edns.udp_bytes);
    number32(static_cast<std::uint32_t>(rcode) >> 4 << 24 | std::uint32_t{edns.version} << 16 |
             (edns.dnssec_ok ? kDnssecOk : 0));
    number16(edns.extended_error ? 6 : 0);
    if (!edns.extended_error) return;
    number16(kExtendedErrorOption);
    number16(2);
    number16(*edns.extended_error);
  }

private:
  void label(std::string_view text) {
    const auto length_at = bytes.size();
    number8(0);
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\\' && text.size() - i > 3) {
        number8(static_cast<unsigned>((text[i + 1] - '0') * 100 + (text[i + 2] - '0') * 10 + (text[i + 3] - '0')));
        i += 3;
      } else {
        number8(static_cast<unsigned char>(text[i]));
      }
    }
    bytes[length_at] = static_cast<std::byte>(bytes.size() - length_at - 1);
  }

  std::unordered_map<std::string, std::uint16_t> known_;
};

}  // namespace

std::optional<std::uint32_t> DnsRecord::ipv4() const {
  if (type != DnsType::a || klass != kDnsClassIn || data.size() != 4) return std::nullopt;
  std::uint32_t address = 0;
  for (const std::byte one : data) address = address << 8 | std::to_integer<std::uint32_t>(one);
  return address;
}

std::optional<std::array<std::uint8_t, 16>> DnsRecord::ipv6() const {
  if (type != DnsType::aaaa || klass != kDnsClassIn || data.size() != 16) return std::nullopt;
  std::array<std::uint8_t, 16> address;
  std::ranges::transform(data, address.begin(), [](std::byte one) { return std::to_integer<std::uint8_t>(one); });
  return address;
}

std::optional<DnsHeader> parse_dns_header(std::span<const std::byte> bytes) {
  if (bytes.size() < kDnsHeaderBytes) return std::nullopt;
  Reader reader(bytes);
  DnsHeader header;
  header.id = *reader.number16();
  const unsigned flags = *reader.number16();
  header.response = (flags & 0x8000) != 0;
  header.opcode = static_cast<std::uint8_t>(flags >> 11 & 0xF);
  header.authoritative = (flags & 0x400) != 0;
  header.truncated = (flags & 0x200) != 0;
  header.recursion_desired = (flags & 0x100) != 0;
  header.recursion_available = (flags & 0x80) != 0;
  header.authentic = (flags & 0x20) != 0;
  header.checking_disabled = (flags & 0x10) != 0;
  header.rcode = static_cast<DnsRcode>(flags & 0xF);
  return header;
}

Result<DnsMessage> parse_dns_message(std::span<const std::byte> bytes) {
  if (bytes.size() > kDnsMessageMax) return malformed("it is longer than 65535 bytes");
  const auto header = parse_dns_header(bytes);
  if (!header) return malformed("it is cut off");
  DnsMessage message;
  message.header = *header;
  Reader reader(bytes);
  NANOBOX_TRY(reader.take(4));
  const auto questions = NANOBOX_TRY(reader.number16());
  if (questions != 1) return malformed("it has " + std::to_string(questions) + " questions");
  const std::uint16_t counts[] = {NANOBOX_TRY(reader.number16()), NANOBOX_TRY(reader.number16()),
                                  NANOBOX_TRY(reader.number16())};
  message.question.spelling = text_of(NANOBOX_TRY(reader.name()));
  message.question.name = dns_lower(message.question.spelling);
  message.question.type = static_cast<DnsType>(NANOBOX_TRY(reader.number16()));
  message.question.klass = NANOBOX_TRY(reader.number16());
  std::vector<DnsRecord>* const sections[] = {&message.answers, &message.authority, &message.additional};
  for (std::size_t section = 0; section < std::size(sections); ++section)
    for (unsigned i = 0; i < counts[section]; ++i) {
      auto record = NANOBOX_TRY(read_record(reader));
      if (record.type == DnsType::opt) {
        if (sections[section] != &message.additional) return malformed("an OPT record is among the answers");
        NANOBOX_TRY(take_edns(message, record));
        continue;
      }
      if (record.ttl > kTtlMax) record.ttl = 0;
      sections[section]->push_back(std::move(record));
    }
  return message;
}

std::vector<std::byte> write_dns_message(const DnsMessage& message, std::size_t limit) {
  const auto write = [&](bool records) {
    Writer writer;
    writer.header(message, message.header.truncated || !records);
    const bool question = !message.question.name.empty();
    writer.number16(question ? 1 : 0);
    writer.number16(records ? static_cast<unsigned>(message.answers.size()) : 0);
    writer.number16(records ? static_cast<unsigned>(message.authority.size()) : 0);
    writer.number16((records ? static_cast<unsigned>(message.additional.size()) : 0) + (message.edns ? 1 : 0));
    if (question) {
      writer.name(message.question.spelling);
      writer.number16(static_cast<unsigned>(message.question.type));
      writer.number16(message.question.klass);
    }
    if (records)
      for (const auto* section : {&message.answers, &message.authority, &message.additional})
        for (const auto& record : *section) {
          writer.record(record);
          if (writer.bytes.size() > limit) return std::move(writer.bytes);
        }
    if (message.edns) writer.opt(*message.edns, message.header.rcode);
    return std::move(writer.bytes);
  };
  auto whole = write(true);
  return whole.size() <= limit ? whole : write(false);
}

DnsMessage dns_reply(const DnsMessage& query, DnsRcode rcode) {
  DnsMessage reply;
  reply.header = {.id = query.header.id,
                  .response = true,
                  .opcode = query.header.opcode,
                  .authoritative = false,
                  .truncated = false,
                  .recursion_desired = query.header.recursion_desired,
                  .recursion_available = true,
                  .authentic = false,
                  .checking_disabled = query.header.checking_disabled,
                  .rcode = rcode};
  reply.question = query.question;
  if (query.edns) {
    reply.edns.emplace();
    reply.edns->dnssec_ok = query.edns->dnssec_ok;
  }
  return reply;
}

std::vector<std::byte> dns_error_reply(const DnsHeader& query, DnsRcode rcode) {
  DnsMessage asked;
  asked.header = query;
  return write_dns_message(dns_reply(asked, rcode));
}

DnsRecord dns_a_record(std::string name, std::uint32_t address, std::uint32_t ttl) {
  DnsRecord record{
      .name = std::move(name), .type = DnsType::a, .klass = kDnsClassIn, .ttl = ttl, .data = {}, .target = {}};
  for (const unsigned shift : {24U, 16U, 8U, 0U}) record.data.push_back(static_cast<std::byte>(address >> shift));
  return record;
}

std::string dns_lower(std::string_view name) {
  std::string lower(name);
  for (char& one : lower)
    if (one >= 'A' && one <= 'Z') one = static_cast<char>(one - 'A' + 'a');
  return lower;
}

}  // namespace nanobox
