#include "pipeline/warmup/source/reference.hpp"

#include <algorithm>
#include <optional>

#include "config/whole_number.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kMaxNameLength = 255;
constexpr std::size_t kMaxTagLength = 128;
constexpr std::size_t kMaxPathLength = 4096;
constexpr std::string_view kDefaultRegistry = "docker.io";

bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_word(char c) {
  return is_lower(c) || is_upper(c) || is_digit(c) || c == '_';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f');
}

/// For error texts: bounded, and nothing that a terminal or a log would take for more than text.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 200)) out += (c >= 0x20 && c < 0x7f) ? c : '?';
  if (text.size() > 200) out += "...";
  return out;
}

tl::unexpected<Error> invalid(std::string_view text, std::string reason, std::string mend) {
  return fail({.code = ErrorCode::image_name_invalid,
               .attempted = "read image name",
               .subject = "'" + printable(text) + "'",
               .reason = std::move(reason),
               .mend = std::move(mend)});
}

bool is_tag(std::string_view text) {
  return !text.empty() && text.size() <= kMaxTagLength && is_word(text.front()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_word(c) || c == '.' || c == '-'; });
}

/// [a-z0-9]+ joined by ".", "_", "__" or any number of "-".
bool is_path_component(std::string_view text) {
  const auto alnum = [](char c) { return is_lower(c) || is_digit(c); };
  if (text.empty() || !alnum(text.front()) || !alnum(text.back())) return false;
  for (std::size_t i = 0; i < text.size();) {
    if (alnum(text[i])) {
      ++i;
      continue;
    }
    const auto start = i;
    while (i < text.size() && !alnum(text[i])) ++i;
    const auto joint = text.substr(start, i - start);
    const bool dashes = joint.find_first_not_of('-') == std::string_view::npos;
    if (joint != "." && joint != "_" && joint != "__" && !dashes) return false;
  }
  return true;
}

bool is_port(std::string_view text) {
  return whole_number<std::uint16_t>(text).value_or(0) != 0;
}

bool is_host_name(std::string_view host) {
  while (true) {
    const auto dot = host.find('.');
    const auto label = host.substr(0, dot);
    if (label.empty() || label.front() == '-' || label.back() == '-') return false;
    if (!std::all_of(label.begin(), label.end(),
                     [](char c) { return is_lower(c) || is_upper(c) || is_digit(c) || c == '-'; }))
      return false;
    if (dot == std::string_view::npos) return true;
    host.remove_prefix(dot + 1);
  }
}

bool is_registry(std::string_view text) {
  if (!text.empty() && text.front() == '[') {
    const auto close = text.find(']');
    if (close == std::string_view::npos || close < 3) return false;
    const auto address = text.substr(1, close - 1);
    if (!std::all_of(address.begin(), address.end(), [](char c) {
          return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':';
        }))
      return false;
    const auto rest = text.substr(close + 1);
    return rest.empty() || (rest.front() == ':' && is_port(rest.substr(1)));
  }
  const auto colon = text.find(':');
  if (colon != std::string_view::npos && !is_port(text.substr(colon + 1))) return false;
  return is_host_name(text.substr(0, colon));
}

/// docker's rule: the first component is a registry when it could not be part of a repository's name.
bool looks_like_registry(std::string_view first) {
  return first == "localhost" || first.find_first_of(".:[") != std::string_view::npos ||
         std::any_of(first.begin(), first.end(), is_upper);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& c : out)
    if (is_upper(c)) c = static_cast<char>(c - 'A' + 'a');
  return out;
}

struct LocalPrefix {
  std::string_view text;
  LocalReference::Form form;
};

/// Of a local form's name; "oci:1.0" is the image named oci with the tag 1.0, as docker reads it.
std::optional<LocalPrefix> local_prefix(std::string_view text) {
  constexpr LocalPrefix layout{"oci:", LocalReference::Form::oci_layout};
  constexpr LocalPrefix archive{"docker-archive:", LocalReference::Form::docker_archive};
  if (text.starts_with(layout.text) && text.find('/') != std::string_view::npos) return layout;
  if (text.starts_with(archive.text)) return archive;
  return std::nullopt;
}

Result<ImageReference> parse_local(std::string_view whole, const LocalPrefix& prefix, std::string_view rest) {
  const std::string mend = std::string("write ") + std::string(prefix.text) +
                           (prefix.form == LocalReference::Form::oci_layout ? "/folder[:tag]" : "/file.tar[:tag]");
  if (rest.size() > kMaxPathLength) return invalid(whole, "the path is longer than 4096 bytes", mend);
  if (rest.find('\0') != std::string_view::npos) return invalid(whole, "the path holds a zero byte", mend);
  if (rest.empty() || rest.front() != '/') return invalid(whole, "the path is not absolute", mend);
  LocalReference local{.form = prefix.form, .path = {}, .tag = {}};
  const auto colon = rest.find(':', rest.rfind('/'));
  if (colon != std::string_view::npos) {
    const auto tag = rest.substr(colon + 1);
    if (!is_tag(tag))
      return invalid(whole, "'" + printable(tag) + "' is no tag",
                     "a tag is 1 to 128 of A-Z a-z 0-9 _ . - and begins with none of . -");
    local.tag = tag;
    rest = rest.substr(0, colon);
  }
  if (rest.find_first_not_of('/') == std::string_view::npos) return invalid(whole, "it names no file", mend);
  local.path = std::filesystem::path(rest);
  return local;
}

Result<ImageReference> parse_registry(std::string_view whole) {
  RegistryReference found;
  auto rest = whole;
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    const auto digest = rest.substr(at + 1);
    if (!is_digest(digest))
      return invalid(whole, "'" + printable(digest) + "' is no digest", "write @sha256: and 64 lower-case hex digits");
    found.digest = digest;
    rest = rest.substr(0, at);
  }
  const auto last_slash = rest.rfind('/');
  const auto colon = rest.find(':', last_slash == std::string_view::npos ? 0 : last_slash);
  if (colon != std::string_view::npos) {
    const auto tag = rest.substr(colon + 1);
    if (!is_tag(tag))
      return invalid(whole, tag.empty() ? "the tag is empty" : "'" + printable(tag) + "' is no tag",
                     "a tag is 1 to 128 of A-Z a-z 0-9 _ . - and begins with none of . -");
    found.tag = tag;
    rest = rest.substr(0, colon);
  }
  if (rest.empty()) return invalid(whole, "there is no name", "write [registry/]repository[:tag], e.g. node:22-alpine");

  const auto slash = rest.find('/');
  const auto first = rest.substr(0, slash);
  if (slash != std::string_view::npos && looks_like_registry(first)) {
    if (!is_registry(first))
      return invalid(whole, "'" + printable(first) + "' is no registry",
                     "write host[:port]/repository, port 1 to 65535");
    // A name that only its capitals tell from a repository's part or a local form keeps them, or it would be read back
    // as that.
    found.registry = lower(first);
    if (!looks_like_registry(found.registry) || local_prefix(found.registry + "/")) found.registry = first;
    if (found.registry == "index.docker.io" || found.registry == "registry-1.docker.io")
      found.registry = kDefaultRegistry;
    rest = rest.substr(slash + 1);
  } else {
    found.registry = kDefaultRegistry;
  }
  if (rest.empty())
    return invalid(whole, "there is no repository after the registry", "write registry/repository[:tag]");
  for (auto path = rest;;) {
    const auto end = path.find('/');
    const auto component = path.substr(0, end);
    if (!is_path_component(component)) {
      if (is_path_component(lower(component)))
        return invalid(whole, "repository names are lower-case",
                       "write '" + lower(component) + "' instead of '" + std::string(component) + "'");
      if (component.empty())
        return invalid(whole, "a part of the name is empty", "write single slashes, none at the end");
      return invalid(whole, "'" + printable(component) + "' is no part of a repository's name",
                     "use a-z and 0-9, joined by single . _ or by __ or dashes");
    }
    if (end == std::string_view::npos) break;
    path.remove_prefix(end + 1);
  }
  if (rest.find('/') == std::string_view::npos) {
    const bool bare_id = rest.size() == 64 && std::all_of(rest.begin(), rest.end(), is_hex);
    if (bare_id && found.registry == kDefaultRegistry)
      return invalid(whole, "a bare id names no image", "write repository@sha256:id");
    if (found.registry == kDefaultRegistry) found.repository = "library/";
  }
  found.repository += rest;
  if (found.repository.size() > kMaxNameLength || found.registry.size() > kMaxNameLength)
    return invalid(whole, "the name is longer than 255 characters", "use a shorter name");
  if (found.tag.empty() && found.digest.empty()) found.tag = "latest";
  return found;
}

}  // namespace

bool is_digest(std::string_view text) {
  constexpr std::string_view prefix = "sha256:";
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return text.size() == 64 && std::all_of(text.begin(), text.end(), is_hex);
}

Result<ImageReference> parse_reference(std::string_view text) {
  if (text.empty()) return invalid(text, "it is empty", "write an image's name, e.g. node:22-alpine");
  if (const auto local = local_prefix(text)) return parse_local(text, *local, text.substr(local->text.size()));
  if (std::any_of(text.begin(), text.end(), [](char c) { return c <= 0x20 || c >= 0x7f; }))
    return invalid(text, "it holds a space or a character outside ASCII", "leave it out");
  if (const auto scheme = text.find("://"); scheme != std::string_view::npos) {
    const auto name = text.substr(scheme + 3);
    const bool registry_scheme = text.starts_with("docker://") || text.starts_with("http");
    return invalid(text, "'" + printable(text.substr(0, scheme + 3)) + "' is no known scheme",
                   registry_scheme && !name.empty()
                       ? "write '" + printable(name) + "'"
                       : "write a registry's image name, oci:/folder or docker-archive:/file.tar");
  }
  if (const auto path = text.find(":/"); path != std::string_view::npos)
    return invalid(text, "'" + printable(text.substr(0, path + 1)) + "' is no known scheme",
                   "write a registry's image name, oci:/folder or docker-archive:/file.tar");
  return parse_registry(text);
}

std::string canonical_name(const ImageReference& reference) {
  if (const auto* local = std::get_if<LocalReference>(&reference)) {
    std::string text = local->form == LocalReference::Form::oci_layout ? "oci:" : "docker-archive:";
    text += local->path.string();
    if (!local->tag.empty()) text += ":" + local->tag;
    return text;
  }
  const auto& image = std::get<RegistryReference>(reference);
  std::string text = image.registry + "/" + image.repository;
  if (!image.tag.empty()) text += ":" + image.tag;
  if (!image.digest.empty()) text += "@" + image.digest;
  return text;
}

}  // namespace nanobox
