#include "tools/nanobox/template_name.hpp"

#include <cstdint>
#include <cstdio>

namespace nanobox::cli {
namespace {

constexpr std::size_t kMaxName = 63;

/// Eight digits that tell images apart (FNV-1a).
std::string mark_of(std::string_view image) {
  std::uint32_t hash = 2166136261U;
  for (const char c : image) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  char text[9];
  std::snprintf(text, sizeof text, "%08x", hash);
  return text;
}

void drop_prefix(std::string_view& text, std::string_view prefix) {
  if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
}

}  // namespace

std::string template_name_for(std::string_view image) {
  const std::string_view whole = image;
  for (const char* prefix : {"docker-archive:", "oci:", "docker.io/", "library/"}) drop_prefix(image, prefix);
  if (const auto digest = image.find("@sha256:"); digest != std::string_view::npos)
    image = image.substr(0, std::min(image.size(), digest + 8 + 12));
  std::string name;
  for (const char c : image) {
    const bool kept = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_';
    if (kept)
      name += c;
    else if (c >= 'A' && c <= 'Z')
      name += static_cast<char>(c - 'A' + 'a');
    else if (!name.empty() && name.back() != '-')
      name += '-';
  }
  while (!name.empty() && (name.back() == '-' || name.back() == '.' || name.back() == '_')) name.pop_back();
  name.erase(0, name.find_first_not_of("._-"));
  if (name.empty()) return "image-" + mark_of(whole);
  if (name.size() > kMaxName) name = name.substr(0, kMaxName - 9) + "-" + mark_of(whole);
  return name;
}

std::string second_template_name_for(std::string_view image) {
  return template_name_for(image).substr(0, kMaxName - 9) + "-" + mark_of(image);
}

}  // namespace nanobox::cli
