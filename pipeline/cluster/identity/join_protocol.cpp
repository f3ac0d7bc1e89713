#include "pipeline/cluster/identity/join_protocol.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>
#include <set>

#include "config/ipv4_subnet.hpp"
#include "config/listen_address.hpp"
#include "config/utf8.hpp"
#include "pipeline/cluster/identity/peer_identity.hpp"
#include "pipeline/json_text.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kLongestPem = std::size_t{16} << 10;
constexpr std::size_t kLongestName = 256;
constexpr std::size_t kLongestReason = 4096;

tl::unexpected<Error> malformed(std::string reason, ErrorCode code = ErrorCode::malformed_request) {
  return fail(
      {.code = code, .attempted = "read a join message", .subject = "", .reason = std::move(reason), .mend = {}});
}

Result<rapidjson::Document> parse_object(std::string_view text) {
  if (text.size() > longest_join_message) return malformed("it is too long", ErrorCode::body_too_large);
  constexpr unsigned flags = rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag;
  rapidjson::Document document;
  document.Parse<flags>(text.data(), text.size());
  if (document.HasParseError())
    return malformed("it is no JSON from byte " + std::to_string(document.GetErrorOffset()) + " on",
                     ErrorCode::malformed_json);
  if (!document.IsObject()) return malformed("it is no JSON object");
  return document;
}

std::string_view text_of(const rapidjson::Value& value) {
  return {value.GetString(), value.GetStringLength()};
}

/// Exactly these members, each once.
Result<void> check_members(const rapidjson::Value& object, std::initializer_list<std::string_view> known) {
  std::set<std::string_view> seen;
  for (const auto& member : object.GetObject()) {
    const auto name = text_of(member.name);
    if (std::ranges::find(known, name) == known.end()) return malformed("there is a field that nobody knows");
    if (!seen.insert(name).second) return malformed("'" + std::string(name) + "' is there twice");
  }
  for (const auto name : known)
    if (!seen.contains(name)) return malformed("'" + std::string(name) + "' is missing");
  return {};
}

/// Text without control characters; PEM has lines.
Result<std::string> text_field(const rapidjson::Value& object, const char* name, std::size_t longest,
                               bool has_lines = false) {
  const auto found = object.FindMember(name);
  if (found == object.MemberEnd() || !found->value.IsString())
    return malformed("'" + std::string(name) + "' is no text");
  const auto text = text_of(found->value);
  if (text.size() > longest) return malformed("'" + std::string(name) + "' is too long");
  const auto is_odd = [&](char c) {
    const bool is_line = has_lines && (c == '\n' || c == '\r');
    return (static_cast<unsigned char>(c) < 0x20 && !is_line) || c == 0x7f;
  };
  if (std::ranges::any_of(text, is_odd)) return malformed("'" + std::string(name) + "' has control characters");
  return std::string(text);
}

std::optional<std::uint32_t> protocol_of(const rapidjson::Value& object) {
  const auto found = object.FindMember("protocol");
  if (found == object.MemberEnd() || !found->value.IsUint()) return std::nullopt;
  return found->value.GetUint();
}

std::string version_text(std::uint32_t protocol, std::string_view program) {
  return std::to_string(protocol) + (program.empty() ? "" : " (NanoBox " + std::string(program) + ")");
}

Result<void> check_protocol(const rapidjson::Value& object, std::string_view program) {
  const auto theirs = protocol_of(object);
  if (!theirs) return malformed("'protocol' is no whole number");
  if (*theirs == join_protocol_version) return {};
  const auto their_program = text_field(object, "program", kLongestName);
  return fail({.code = ErrorCode::version_incompatible,
               .attempted = "join",
               .subject = "",
               .reason = "the other end speaks version " + version_text(*theirs, their_program.value_or("")) +
                         " of the join protocol, this one version " + version_text(join_protocol_version, program),
               .mend = "run the same version of NanoBox on both"});
}

/// One line of UTF-8 that fits: reasons may hold names and paths of any bytes.
std::string one_line(std::string_view text) {
  text = text.substr(0, kLongestReason);
  text = text.substr(0, utf8_before_cut(text));
  const bool is_valid = is_utf8(text);
  std::string line(text);
  for (auto& c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || (byte > 0x7f && !is_valid)) c = ' ';
  }
  return line;
}

Error read_refusal(const rapidjson::Value& refusal) {
  auto error = error_from_json(refusal).value_or(Error{});
  error.attempted = "join";
  error.subject.clear();
  error.reason = one_line(error.reason);
  error.mend = one_line(error.mend);
  if (error.reason.empty()) error.reason = "the control plane refuses without a reason";
  if (!refusal.IsObject()) return error;
  const auto transient = refusal.FindMember("transient");
  error.transient = transient != refusal.MemberEnd() && transient->value.IsBool() && transient->value.GetBool();
  return error;
}

Result<void> read_fully(ByteStream& stream, std::span<std::byte> into) {
  while (!into.empty()) {
    const auto count = NANOBOX_TRY(stream.read(into));
    if (count == 0)
      return fail({.code = ErrorCode::connection_lost,
                   .attempted = "read a join message",
                   .subject = "",
                   .reason = "the other end closed before the message was whole",
                   .mend = "",
                   .transient = true});
    into = into.subspan(count);
  }
  return {};
}

void begin(JsonWriter& json) {
  json.StartObject();
  put(json, "protocol");
  json.Uint(join_protocol_version);
}

std::string text_in(const rapidjson::StringBuffer& buffer) {
  return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace

std::string to_json(const JoinRequest& request) {
  rapidjson::StringBuffer text;
  JsonWriter json(text);
  json.StartObject();
  put(json, "protocol");
  json.Uint(request.protocol);
  put_text(json, "program", request.program_version);
  put_text(json, "token", request.token);
  put_text(json, "csr", request.csr);
  put_text(json, "node_id", request.node_id);
  json.EndObject();
  return text_in(text);
}

std::string to_json(const JoinAnswer& answer) {
  rapidjson::StringBuffer text;
  JsonWriter json(text);
  begin(json);
  put_text(json, "certificate", answer.certificate);
  put_text(json, "ca_certificate", answer.ca_certificate);
  put_text(json, "node_id", answer.grant.node_id);
  put_text(json, "subnet_part", answer.grant.subnet_part);
  put_text(json, "cluster_subnet", answer.grant.cluster_subnet);
  put_text(json, "listen_addr", answer.grant.listen_addr);
  json.EndObject();
  return text_in(text);
}

std::string refusal_json(const Error& error) {
  rapidjson::StringBuffer text;
  JsonWriter json(text);
  begin(json);
  put(json, "error");
  json.StartObject();
  put_text(json, "code", to_string(error.code));
  put_text(json, "reason", one_line(error.reason));
  put_text(json, "mend", one_line(error.mend));
  put(json, "transient");
  json.Bool(error.transient);
  json.EndObject();
  json.EndObject();
  return text_in(text);
}

Result<JoinRequest> parse_join_request(std::string_view text, std::string_view program) {
  const auto document = NANOBOX_TRY(parse_object(text));
  NANOBOX_TRY(check_protocol(document, program));
  NANOBOX_TRY(check_members(document, {"protocol", "program", "token", "csr", "node_id"}));
  JoinRequest request;
  request.program_version = NANOBOX_TRY(text_field(document, "program", kLongestName));
  request.token = NANOBOX_TRY(text_field(document, "token", kLongestName));
  request.csr = NANOBOX_TRY(text_field(document, "csr", kLongestPem, true));
  request.node_id = NANOBOX_TRY(text_field(document, "node_id", longest_node_id));
  if (!request.node_id.empty() && !is_node_id(request.node_id))
    return malformed("'node_id' is not 1 to 64 letters, digits, '-', '_' and '.'");
  return request;
}

Result<JoinAnswer> parse_join_reply(std::string_view text, std::string_view program) {
  const auto document = NANOBOX_TRY(parse_object(text));
  if (const auto refusal = document.FindMember("error"); refusal != document.MemberEnd())
    return fail(read_refusal(refusal->value));
  NANOBOX_TRY(check_protocol(document, program));
  NANOBOX_TRY(check_members(document, {"protocol", "certificate", "ca_certificate", "node_id", "subnet_part",
                                       "cluster_subnet", "listen_addr"}));
  JoinAnswer answer;
  answer.certificate = NANOBOX_TRY(text_field(document, "certificate", kLongestPem, true));
  answer.ca_certificate = NANOBOX_TRY(text_field(document, "ca_certificate", kLongestPem, true));
  answer.grant.node_id = NANOBOX_TRY(text_field(document, "node_id", longest_node_id));
  answer.grant.subnet_part = NANOBOX_TRY(text_field(document, "subnet_part", kLongestName));
  answer.grant.cluster_subnet = NANOBOX_TRY(text_field(document, "cluster_subnet", kLongestName));
  answer.grant.listen_addr = NANOBOX_TRY(text_field(document, "listen_addr", kLongestName + longest_node_id));
  NANOBOX_TRY(check_grant(answer.grant));
  return answer;
}

Result<void> check_grant(const JoinGrant& grant) {
  if (!is_node_id(grant.node_id)) return malformed("'node_id' names no node");
  const auto part = parse_subnet(grant.subnet_part);
  const auto whole = parse_subnet(grant.cluster_subnet);
  if (!part || !whole) return malformed("'subnet_part' or 'cluster_subnet' is no network");
  if (!whole->contains(part->base) || part->prefix < whole->prefix)
    return malformed("'subnet_part' is no part of 'cluster_subnet'");
  const auto address = parse_listen_address(grant.listen_addr);
  if (!address || address->port == 0) return malformed("'listen_addr' is no address with a port");
  return {};
}

Result<void> send_message(ByteStream& stream, std::string_view message) {
  if (message.size() > longest_join_message)
    return fail({.code = ErrorCode::body_too_large,
                 .attempted = "send a join message",
                 .subject = "",
                 .reason = "it has more than 64 KiB",
                 .mend = {}});
  const auto size = static_cast<std::uint32_t>(message.size());
  std::string framed;
  for (const int shift : {24, 16, 8, 0}) framed += static_cast<char>(size >> shift & 0xff);
  framed += message;
  return stream.write(std::as_bytes(std::span(framed)));
}

Result<std::string> receive_message(ByteStream& stream) {
  std::array<std::byte, 4> head{};
  NANOBOX_TRY(read_fully(stream, head));
  std::size_t size = 0;
  for (const auto byte : head) size = size << 8 | std::to_integer<std::size_t>(byte);
  if (size > longest_join_message)
    return malformed("it announces " + std::to_string(size) + " bytes", ErrorCode::body_too_large);
  std::string message(size, '\0');
  NANOBOX_TRY(read_fully(stream, std::as_writable_bytes(std::span(message))));
  return message;
}

}  // namespace nanobox
