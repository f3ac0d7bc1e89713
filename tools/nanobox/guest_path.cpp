#include "tools/nanobox/guest_path.hpp"

#include <filesystem>

namespace nanobox::cli {
namespace {

std::string_view without_slashes(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return path;
}

}  // namespace

Result<CopyPlace> read_place(std::string_view text) {
  const auto refuse = [&](std::string reason, std::string mend) {
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "copy",
                 .subject = std::string(text),
                 .reason = std::move(reason),
                 .mend = std::move(mend)});
  };
  const auto colon = text.find(':');
  if (text.empty()) return refuse("a path is empty", "write a path, SANDBOX:/path, or -");
  if (colon == std::string_view::npos || text.front() == '.' || text.find('/') < colon)
    return CopyPlace{.sandbox_id = "", .path = std::string(text)};
  if (colon == 0) return refuse("no sandbox is named", "write SANDBOX:/path");
  const auto path = text.substr(colon + 1);
  if (path.empty()) return refuse("no path is named", "write " + std::string(text) + "/path");
  return CopyPlace{.sandbox_id = std::string(text.substr(0, colon)),
                   .path = path.front() == '/' ? std::string(path) : "/" + std::string(path)};
}

std::string name_of(std::string_view path) {
  if (means_content(path)) return "";
  path = without_slashes(path);
  if (path == "/") return "";
  const auto slash = path.rfind('/');
  const auto name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  return name == ".." ? "" : std::string(name);
}

bool means_content(std::string_view path) {
  path = without_slashes(path);
  return path == "." || path.ends_with("/.");
}

std::string joined(std::string_view folder, std::string_view name) {
  std::string path(without_slashes(folder));
  if (name.empty()) return path;
  if (path.empty() || path.back() != '/') path += '/';
  return path.append(name);
}

std::string plain_path(std::string_view path) {
  auto plain = (std::filesystem::path("/") / path).lexically_normal().string();
  return std::string(without_slashes(plain));
}

}  // namespace nanobox::cli
