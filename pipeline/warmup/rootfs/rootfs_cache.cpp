#include "pipeline/warmup/rootfs/rootfs_cache.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include "pipeline/json_text.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kIdentityDigits = 64;

struct FreeDigest {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

/// A digest over parts whose borders count.
class PartsDigest {
public:
  PartsDigest() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void add(std::string_view part) {
    const auto size = std::to_string(part.size()) + ":";
    EVP_DigestUpdate(context_.get(), size.data(), size.size());
    EVP_DigestUpdate(context_.get(), part.data(), part.size());
  }
  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
    unsigned count = 0;
    EVP_DigestFinal_ex(context_.get(), bytes.data(), &count);
    std::string text;
    constexpr std::string_view kDigits = "0123456789abcdef";
    for (unsigned at = 0; at < count; ++at) {
      text += kDigits[bytes[at] >> 4];
      text += kDigits[bytes[at] & 0xF];
    }
    return text;
  }

private:
  std::unique_ptr<EVP_MD_CTX, FreeDigest> context_;
};

bool is_identity(std::string_view text) {
  return text.size() == kIdentityDigits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Result<void> remove_file(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error) return fail(errno_error(error.value(), "remove", path.string()));
  return {};
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    paths.push_back(at->path());
  return paths;
}

}  // namespace

std::string rootfs_identity(const ResolvedImage& image, std::string_view init_digest) {
  PartsDigest digest;
  digest.add("nanobox rootfs");
  digest.add(kRootfsBuilderVersion);
  digest.add(init_digest);
  digest.add(image.config.platform.os);
  digest.add(image.config.platform.architecture);
  digest.add(image.config.platform.variant);
  digest.add(image.config_json);
  for (const auto& diff_id : image.config.diff_ids) digest.add(diff_id);
  for (const auto& layer : image.layers) digest.add(layer.digest);
  return digest.hex();
}

std::optional<BuiltRootfs> find_rootfs(const fs::path& folder, const std::string& identity) {
  if (!is_identity(identity)) return std::nullopt;
  std::ifstream record(folder / (identity + ".json"), std::ios::binary);
  if (!record) return std::nullopt;
  const std::string text{std::istreambuf_iterator<char>(record), std::istreambuf_iterator<char>()};
  rapidjson::Document json;
  if (json.Parse(text.data(), text.size()).HasParseError() || !json.IsObject() || text_at(json, "identity") != identity)
    return std::nullopt;
  BuiltRootfs rootfs;
  rootfs.identity = identity;
  rootfs.image_path = folder / (identity + ".ext4");
  rootfs.size_bytes = number_at(json, "size_bytes");
  rootfs.used_bytes = number_at(json, "used_bytes");
  rootfs.entries = number_at(json, "entries");
  std::error_code error;
  if (fs::file_size(rootfs.image_path, error) != rootfs.size_bytes || error) return std::nullopt;
  return rootfs;
}

Result<void> remove_rootfs(const fs::path& folder, const std::string& identity) {
  if (!is_identity(identity)) return {};
  NANOBOX_TRY(remove_file(folder / (identity + ".json")));
  NANOBOX_TRY(remove_file(folder / (identity + ".ext4")));
  for (const auto& path : files_of(folder)) {
    std::error_code error;
    if (fs::is_symlink(path, error) && fs::read_symlink(path, error) == identity + ".ext4")
      NANOBOX_TRY(remove_file(path));
  }
  return {};
}

Result<void> link_rootfs_name(const fs::path& folder, const BuiltRootfs& rootfs, const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos || name.starts_with('.') || is_identity(name))
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "name root file system",
                 .subject = name,
                 .reason = "it cannot be a file's name here",
                 .mend = ""});
  const auto link = folder / (name + ".ext4"), half = folder / ".tmp" / (name + ".link");
  std::error_code error;
  fs::create_directories(half.parent_path(), error);
  fs::remove(half, error);
  fs::create_symlink(rootfs.identity + ".ext4", half, error);
  if (!error) fs::rename(half, link, error);
  if (error) return fail(errno_error(error.value(), "name root file system", link.string()));
  return {};
}

void unlink_rootfs_name(const fs::path& folder, const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos) return;
  const auto link = folder / (name + ".ext4");
  std::error_code error;
  if (fs::is_symlink(link, error)) fs::remove(link, error);
}

Result<void> clean_rootfs_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fail(errno_error(error.value(), "make folder", folder.string()));
  for (const auto& path : files_of(folder / ".tmp")) {
    fs::remove_all(path, error);
    if (error) return fail(errno_error(error.value(), "remove", path.string()));
  }
  for (const auto& path : files_of(folder)) {
    const auto stem = path.stem().string();
    if (is_identity(stem) && !fs::is_symlink(path, error) && !find_rootfs(folder, stem)) NANOBOX_TRY(remove_file(path));
  }
  for (const auto& path : files_of(folder)) {
    if (fs::is_symlink(path, error) && !fs::exists(path, error)) NANOBOX_TRY(remove_file(path));
  }
  return {};
}

}  // namespace nanobox
