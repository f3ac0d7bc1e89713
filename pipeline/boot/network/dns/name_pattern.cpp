#include "pipeline/boot/network/dns/name_pattern.hpp"

#include <arpa/inet.h>

#include <algorithm>

#include "pipeline/boot/network/dns/message.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kTextMax = 253;  // with its lengths and the root's it is 255 bytes in a message
constexpr std::size_t kLabelMax = 63;

tl::unexpected<Error> refuse(std::string_view text, std::string reason, std::string mend) {
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "read domain pattern",
               .subject = std::string(text.substr(0, kTextMax)),
               .reason = std::move(reason),
               .mend = std::move(mend)});
}

bool is_address(std::string_view text) {
  std::uint8_t address[16];
  const std::string terminated(text);
  return ::inet_pton(AF_INET, terminated.c_str(), address) == 1 ||
         ::inet_pton(AF_INET6, terminated.c_str(), address) == 1;
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char one) { return one < 0x80; });
}

bool is_label_character(char one) {
  return (one >= 'a' && one <= 'z') || (one >= '0' && one <= '9') || one == '-' || one == '_';
}

/// Why it is no label; empty: it is one.
std::string objection_to_label(std::string_view label) {
  if (label.empty()) return "it has two dots in a row, or begins with one";
  if (label.size() > kLabelMax) return "a part between dots is longer than 63 bytes";
  if (label.front() == '-' || label.back() == '-') return "a part between dots begins or ends with '-'";
  const auto wrong = std::ranges::find_if_not(label, is_label_character);
  return wrong == label.end() ? "" : "it contains '" + std::string(1, *wrong) + "'";
}

}  // namespace

Result<NamePattern> NamePattern::parse(std::string_view text) {
  const std::string example = "write a name such as example.com, or *.example.com for all names below it";
  if (text.empty()) return refuse(text, "it is empty", example);
  if (text == "*" || text == "*.")
    return refuse(text, "it would allow every name", "leave allow_domains out to allow every name");
  if (text.find("://") != std::string_view::npos) return refuse(text, "it is a URL", "write the URL's host name only");
  if (is_address(text)) return refuse(text, "it is an address", "write addresses in allow_cidrs");
  if (text.find('/') != std::string_view::npos) return refuse(text, "it contains '/'", "write networks in allow_cidrs");
  if (text.find(':') != std::string_view::npos) return refuse(text, "it contains ':'", "write it without a port");
  if (!is_ascii(text))
    return refuse(text, "it has letters beyond ASCII", "write the form that begins with xn-- (RFC 5891)");
  std::string name = dns_lower(text);
  if (name.ends_with('.')) name.pop_back();
  const bool below = name.starts_with("*.");
  if (below) name.erase(0, 1);
  if (name.find('*') != std::string::npos)
    return refuse(text, "'*' stands elsewhere than alone at its beginning", example);
  if (name.size() > kTextMax) return refuse(text, "it is longer than 253 bytes", example);
  for (std::string_view rest = std::string_view(name).substr(below ? 1 : 0);;) {
    const auto dot = rest.find('.');
    if (const auto objection = objection_to_label(rest.substr(0, dot)); !objection.empty())
      return refuse(text, objection, example);
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  if (name == "internal" || name.ends_with(".internal"))
    return refuse(text, "names below internal are those of sandboxes", "sandboxes see those of their group already");
  return NamePattern(std::move(name), below);
}

bool NamePattern::matches(std::string_view name) const {
  return below_ ? name.size() > name_.size() && name.ends_with(name_) : name == name_;
}

}  // namespace nanobox
