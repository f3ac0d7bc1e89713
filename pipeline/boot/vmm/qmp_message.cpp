#include "pipeline/boot/vmm/qmp_message.hpp"

#include <rapidjson/document.h>
#include <rapidjson/error/en.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

namespace nanobox {

namespace {

constexpr unsigned parse_flags = rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag;

Error unreadable(std::string reason) {
  return {.code = ErrorCode::vmm_failed,
          .attempted = "read from the VMM",
          .subject = "QMP",
          .reason = std::move(reason),
          .mend = ""};
}

std::string text_of(const rapidjson::Value& value) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer writer(buffer);
  value.Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}

std::string string_member(const rapidjson::Value& object, const char* name) {
  const auto found = object.FindMember(name);
  if (found == object.MemberEnd() || !found->value.IsString()) return {};
  return {found->value.GetString(), found->value.GetStringLength()};
}

// RapidJSON writes values recursively, so what a hostile VMM may nest has a limit.
bool is_deeper_than(std::string_view json, int limit) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > limit) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

Result<QmpMessage> parse(const std::string& line) {
  if (is_deeper_than(line, 64)) return fail(unreadable("a message is nested too deeply"));
  rapidjson::Document document;
  document.Parse<parse_flags>(line.data(), line.size());
  if (document.HasParseError())
    return fail(unreadable(std::string("no JSON: ") + rapidjson::GetParseError_En(document.GetParseError())));
  if (!document.IsObject()) return fail(unreadable("a message is no object"));

  QmpMessage message;
  if (const auto id = document.FindMember("id"); id != document.MemberEnd() && id->value.IsUint64())
    message.id = id->value.GetUint64();
  if (const auto body = document.FindMember("return"); body != document.MemberEnd()) {
    message.kind = QmpMessage::Kind::reply;
    message.body = text_of(body->value);
    return message;
  }
  if (const auto error = document.FindMember("error"); error != document.MemberEnd() && error->value.IsObject()) {
    message.kind = QmpMessage::Kind::error;
    message.name = string_member(error->value, "class");
    message.description = string_member(error->value, "desc");
    return message;
  }
  message.name = string_member(document, "event");
  if (!message.name.empty()) {
    message.kind = QmpMessage::Kind::event;
    const auto data = document.FindMember("data");
    message.body = data == document.MemberEnd() ? "{}" : text_of(data->value);
    return message;
  }
  if (const auto greeting = document.FindMember("QMP"); greeting != document.MemberEnd()) {
    message.kind = QmpMessage::Kind::greeting;
    message.body = text_of(greeting->value);
    return message;
  }
  return fail(unreadable("a message of unknown form"));
}

std::optional<rapidjson::Document> parse_object(std::string_view text) {
  rapidjson::Document document;
  document.Parse<parse_flags>(text.data(), text.size());
  if (document.HasParseError() || !document.IsObject()) return std::nullopt;
  return document;
}

}  // namespace

Result<std::vector<QmpMessage>> QmpReader::read(std::span<const std::byte> bytes) {
  std::vector<QmpMessage> messages;
  for (const auto byte : bytes) {
    const auto c = static_cast<char>(byte);
    if (c != '\n') {  // QEMU ends each message with CR LF and escapes both within strings
      if (line_.size() == longest_message) return fail(unreadable("a message is longer than 1 MiB"));
      line_ += c;
      continue;
    }
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    if (!line_.empty()) messages.push_back(NANOBOX_TRY(parse(line_)));
    line_.clear();
  }
  return messages;
}

std::string qmp_command(std::string_view name, std::string_view arguments, std::uint64_t id) {
  std::string text = R"({"execute":")";
  text.append(name).append("\"");
  if (!arguments.empty()) text.append(",\"arguments\":").append(arguments);
  text.append(",\"id\":").append(std::to_string(id)).append("}\n");
  return text;
}

std::optional<std::string> json_string(std::string_view object, const char* member) {
  const auto document = parse_object(object);
  if (!document) return std::nullopt;
  const auto found = document->FindMember(member);
  if (found == document->MemberEnd() || !found->value.IsString()) return std::nullopt;
  return std::string(found->value.GetString(), found->value.GetStringLength());
}

std::optional<bool> json_bool(std::string_view object, const char* member) {
  const auto document = parse_object(object);
  if (!document) return std::nullopt;
  const auto found = document->FindMember(member);
  if (found == document->MemberEnd() || !found->value.IsBool()) return std::nullopt;
  return found->value.GetBool();
}

}  // namespace nanobox
