#include "http/json/document.hpp"

#include <rapidjson/error/en.h>

#include <algorithm>
#include <string>
#include <vector>

namespace nanobox::http::json {
namespace {

constexpr std::size_t depth_limit = 64;
// Sorting names costs as much as reading them; what no request of ours needs is not sorted.
constexpr std::size_t member_limit = 100'000;

tl::unexpected<Error> malformed(std::string reason) {
  return fail({.code = ErrorCode::malformed_json,
               .attempted = "read JSON",
               .subject = {},
               .reason = std::move(reason),
               .mend = {}});
}

// The depth of brackets outside strings, before the parser allocates anything for them.
bool is_too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool in_text = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_text) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '{' || c == '[') {
      if (++depth > depth_limit) return true;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

Result<void> check_objects(const rapidjson::Value& value) {
  if (value.IsArray()) {
    for (const auto& item : value.GetArray()) NANOBOX_TRY(check_objects(item));
  } else if (value.IsObject()) {
    if (value.MemberCount() > member_limit) return malformed("an object has more than 100000 fields");
    std::vector<std::string_view> names;
    names.reserve(value.MemberCount());
    for (const auto& member : value.GetObject()) {
      names.emplace_back(member.name.GetString(), member.name.GetStringLength());
      NANOBOX_TRY(check_objects(member.value));
    }
    std::ranges::sort(names);
    if (const auto twice = std::ranges::adjacent_find(names); twice != names.end())
      return malformed("the field '" + std::string(*twice) + "' stands twice in one object");
  }
  return {};
}

bool is_json(std::string_view content_type) {
  auto type = std::string(content_type.substr(0, content_type.find(';')));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  for (char& c : type)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return type == "application/json";
}

}  // namespace

Result<rapidjson::Document> parse(std::string_view text) {
  if (is_too_deep(text)) return malformed("it is more than 64 levels deep");
  rapidjson::Document document;
  document.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(text.data(), text.size());
  if (document.HasParseError())
    return malformed(std::string(rapidjson::GetParseError_En(document.GetParseError())) + " (at byte " +
                     std::to_string(document.GetErrorOffset()) + ")");
  NANOBOX_TRY(check_objects(document));
  return document;
}

Result<rapidjson::Document> parse_body(const Request& request) {
  const auto type = request.header("content-type");
  const auto coding = request.header("content-encoding");
  const bool coded = coding && !coding->empty() && *coding != "identity";
  if (!request.body.empty() && ((type && !is_json(*type)) || coded))
    return fail({.code = ErrorCode::unsupported_media_type,
                 .attempted = "read body",
                 .subject = {},
                 .reason = coded ? "the body is compressed" : "the Content-Type is '" + std::string(*type) + "'",
                 .mend = coded ? "send it as it is" : "send Content-Type: application/json"});
  if (request.body.find_first_not_of(" \t\r\n") == std::string::npos) {
    rapidjson::Document empty;
    empty.SetObject();
    return empty;
  }
  auto document = NANOBOX_TRY(parse(request.body));
  if (!document.IsObject())
    return fail({.code = ErrorCode::wrong_type,
                 .attempted = "read body",
                 .subject = {},
                 .reason = "the body must be a JSON object",
                 .mend = {},
                 .fields = {{.pointer = "", .detail = "must be an object"}}});
  return document;
}

}  // namespace nanobox::http::json
