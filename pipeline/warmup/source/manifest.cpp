#include "pipeline/warmup/source/manifest.hpp"

#include <rapidjson/document.h>
#include <rapidjson/error/en.h>

#include <algorithm>
#include <array>
#include <limits>

#include "pipeline/warmup/source/reference.hpp"

namespace nanobox {

namespace {

using Json = rapidjson::Value;

constexpr std::size_t kMaxLayers = 1024;
constexpr std::size_t kMaxEntries = 4096;
constexpr std::uint64_t kMaxBlobBytes = 1ULL << 40;

constexpr std::array kIndexTypes = {std::string_view("application/vnd.oci.image.index.v1+json"),
                                    std::string_view("application/vnd.docker.distribution.manifest.list.v2+json")};
constexpr std::array kManifestTypes = {std::string_view("application/vnd.oci.image.manifest.v1+json"),
                                       std::string_view("application/vnd.docker.distribution.manifest.v2+json")};
constexpr std::array kConfigTypes = {std::string_view("application/vnd.oci.image.config.v1+json"),
                                     std::string_view("application/vnd.docker.container.image.v1+json")};
constexpr std::array kLayerTypes = {std::string_view("application/vnd.docker.image.rootfs.diff.tar.gzip"),
                                    std::string_view("application/vnd.docker.image.rootfs.diff.tar.zstd"),
                                    std::string_view("application/vnd.docker.image.rootfs.diff.tar"),
                                    std::string_view("application/vnd.oci.image.layer.v1.tar"),
                                    std::string_view("application/vnd.oci.image.layer.v1.tar+gzip"),
                                    std::string_view("application/vnd.oci.image.layer.v1.tar+zstd")};
constexpr std::array kForeignTypes = {std::string_view("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
                                      std::string_view("application/vnd.docker.image.rootfs.foreign.diff.tar"),
                                      std::string_view("application/vnd.oci.image.layer.nondistributable.v1.tar"),
                                      std::string_view("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
                                      std::string_view("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd")};

template <std::size_t N>
bool one_of(const std::array<std::string_view, N>& types, std::string_view type) {
  return std::find(types.begin(), types.end(), type) != types.end();
}

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 120)) out += (c >= 0x20 && c < 0x7f) ? c : '?';
  return out;
}

/// Reads one document; every error carries what was read and of which image.
class Reader {
public:
  Reader(std::string attempted, std::string subject) : attempted_(std::move(attempted)), subject_(std::move(subject)) {}

  tl::unexpected<Error> invalid(std::string reason,
                                std::string mend = "the image is damaged or no container image: push it again",
                                ErrorCode code = ErrorCode::manifest_invalid) const {
    return fail({.code = code,
                 .attempted = attempted_,
                 .subject = subject_,
                 .reason = std::move(reason),
                 .mend = std::move(mend)});
  }

  Result<void> parse(rapidjson::Document& document, std::string_view json) const {
    constexpr unsigned flags = rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag;
    document.Parse<flags>(json.data(), json.size());
    if (document.HasParseError())
      return invalid(std::string("it is no JSON: ") + rapidjson::GetParseError_En(document.GetParseError()) +
                     " (at byte " + std::to_string(document.GetErrorOffset()) + ")");
    if (!document.IsObject()) return invalid("it is no JSON object");
    return {};
  }

  /// The member, or null where it is missing or null. A key that stands twice means different things to different
  /// readers, so it is refused.
  Result<const Json*> member(const Json& object, std::string_view key) const {
    const Json* found = nullptr;
    for (const auto& entry : object.GetObject()) {
      if (std::string_view(entry.name.GetString(), entry.name.GetStringLength()) != key) continue;
      if (found) return invalid("the key '" + std::string(key) + "' stands twice");
      found = &entry.value;
    }
    return found && found->IsNull() ? nullptr : found;
  }

  Result<std::string> text(const Json& object, std::string_view key) const {
    const Json* value = NANOBOX_TRY(member(object, key));
    if (!value) return std::string();
    if (!value->IsString()) return invalid("'" + std::string(key) + "' is no string");
    std::string out(value->GetString(), value->GetStringLength());
    if (out.find('\0') != std::string::npos) return invalid("'" + std::string(key) + "' holds a zero byte");
    return out;
  }

  Result<const Json*> object(const Json& parent, std::string_view key) const {
    const Json* value = NANOBOX_TRY(member(parent, key));
    if (value && !value->IsObject()) return invalid("'" + std::string(key) + "' is no object");
    return value;
  }

  Result<const Json*> array(const Json& parent, std::string_view key, std::size_t max) const {
    const Json* value = NANOBOX_TRY(member(parent, key));
    if (value && !value->IsArray()) return invalid("'" + std::string(key) + "' is no array");
    if (value && value->Size() > max)
      return invalid("'" + std::string(key) + "' has more than " + std::to_string(max) + " items");
    return value;
  }

  Result<std::vector<std::string>> texts(const Json& parent, std::string_view key, std::size_t max) const {
    std::vector<std::string> out;
    const Json* values = NANOBOX_TRY(array(parent, key, max));
    if (!values) return out;
    for (const auto& value : values->GetArray()) {
      if (!value.IsString()) return invalid("'" + std::string(key) + "' holds something that is no string");
      out.emplace_back(value.GetString(), value.GetStringLength());
      if (out.back().find('\0') != std::string::npos) return invalid("'" + std::string(key) + "' holds a zero byte");
    }
    return out;
  }

  Result<Descriptor> descriptor(const Json& value, const std::string& what) const {
    if (!value.IsObject()) return invalid(what + " is no object");
    Descriptor out;
    out.media_type = NANOBOX_TRY(text(value, "mediaType"));
    out.digest = NANOBOX_TRY(text(value, "digest"));
    if (out.digest.empty()) return invalid(what + " has no digest");
    if (!is_digest(out.digest))
      return invalid("the digest '" + printable(out.digest) + "' of " + what + " is none of sha256");
    const Json* size = NANOBOX_TRY(member(value, "size"));
    if (!size || !size->IsUint64()) return invalid(what + " has no size");
    out.size = size->GetUint64();
    if (out.size > kMaxBlobBytes) return invalid("the size of " + what + " is beyond 1 TiB");
    out.urls = NANOBOX_TRY(texts(value, "urls", 16));
    return out;
  }

  Result<Platform> platform(const Json& value) const {
    return Platform{.os = NANOBOX_TRY(text(value, "os")),
                    .architecture = NANOBOX_TRY(text(value, "architecture")),
                    .variant = NANOBOX_TRY(text(value, "variant"))};
  }

private:
  const std::string attempted_;
  const std::string subject_;
};

Result<ImageIndex> read_index(const Reader& reader, const Json& document) {
  const Json* manifests = NANOBOX_TRY(reader.array(document, "manifests", kMaxEntries));
  if (!manifests) return reader.invalid("the index has no 'manifests'");
  ImageIndex index;
  for (const auto& item : manifests->GetArray()) {
    IndexEntry entry;
    entry.descriptor = NANOBOX_TRY(reader.descriptor(item, "manifest " + std::to_string(index.entries.size() + 1)));
    if (const Json* platform = NANOBOX_TRY(reader.object(item, "platform")))
      entry.platform = NANOBOX_TRY(reader.platform(*platform));
    if (const Json* annotations = NANOBOX_TRY(reader.object(item, "annotations")))
      entry.ref_name = NANOBOX_TRY(reader.text(*annotations, "org.opencontainers.image.ref.name"));
    index.entries.push_back(std::move(entry));
  }
  return index;
}

Result<void> check_layer_type(const Reader& reader, const Descriptor& layer, std::size_t position) {
  const auto& type = layer.media_type;
  if (one_of(kLayerTypes, type)) return {};
  const auto which = "layer " + std::to_string(position) + " (" + layer.digest + ")";
  if (is_foreign_layer(type)) {
    if (!layer.urls.empty()) return {};
    return reader.invalid(which + " is a foreign one that no registry holds, and there is no url for it",
                          "push the image with its foreign layers", ErrorCode::layer_unsupported);
  }
  const auto mend =
      type.ends_with("+encrypted") ? "decrypt the image first" : "use an image whose layers are tar, gzip or zstd";
  return reader.invalid(which + " is of the type '" + printable(type) + "'", mend, ErrorCode::layer_unsupported);
}

Result<ImageManifest> read_manifest(const Reader& reader, const Json& document) {
  ImageManifest manifest;
  const Json* config = NANOBOX_TRY(reader.member(document, "config"));
  if (!config) return reader.invalid("the manifest has no 'config'");
  manifest.config = NANOBOX_TRY(reader.descriptor(*config, "the configuration"));
  if (!one_of(kConfigTypes, manifest.config.media_type))
    return reader.invalid(
        "it is no container image: its configuration is of the type '" + printable(manifest.config.media_type) + "'",
        "name a container image");
  const Json* layers = NANOBOX_TRY(reader.array(document, "layers", kMaxLayers));
  if (!layers) return reader.invalid("the manifest has no 'layers'");
  std::uint64_t total = 0;
  for (const auto& item : layers->GetArray()) {
    const auto position = manifest.layers.size() + 1;
    auto layer = NANOBOX_TRY(reader.descriptor(item, "layer " + std::to_string(position)));
    NANOBOX_TRY(check_layer_type(reader, layer, position));
    total += layer.size;
    if (total > kMaxBlobBytes) return reader.invalid("the layers are together beyond 1 TiB");
    manifest.layers.push_back(std::move(layer));
  }
  return manifest;
}

std::string normal_architecture(std::string_view name) {
  if (name == "x86_64" || name == "x86-64") return "amd64";
  if (name == "aarch64") return "arm64";
  if (name == "i386" || name == "i686") return "386";
  if (name == "armhf" || name == "armv7l") return "arm";
  return std::string(name);
}

/// The variant that a bare architecture stands for.
std::string default_variant(const Platform& platform) {
  const auto architecture = normal_architecture(platform.architecture);
  if (architecture == "arm64") return "v8";
  if (architecture == "arm") return "v7";
  if (architecture == "amd64") return "v1";
  return "";
}

bool same_variant(const Platform& a, const Platform& b) {
  const auto& left = a.variant.empty() ? default_variant(a) : a.variant;
  const auto& right = b.variant.empty() ? default_variant(b) : b.variant;
  return left == right;
}

bool is_image_entry(const IndexEntry& entry) {
  const auto& type = entry.descriptor.media_type;
  return type.empty() || one_of(kManifestTypes, type) || one_of(kIndexTypes, type);
}

}  // namespace

bool is_index_type(std::string_view media_type) {
  return one_of(kIndexTypes, media_type);
}

bool is_foreign_layer(std::string_view media_type) {
  return one_of(kForeignTypes, media_type);
}

Result<std::variant<ImageManifest, ImageIndex>> parse_manifest(std::string_view json, std::string_view media_type,
                                                               const std::string& subject) {
  const Reader reader("read manifest", subject);
  rapidjson::Document document;
  NANOBOX_TRY(reader.parse(document, json));
  const auto own_type = NANOBOX_TRY(reader.text(document, "mediaType"));
  const bool has_layers = document.HasMember("layers"), has_manifests = document.HasMember("manifests");
  if (has_layers && has_manifests) return reader.invalid("it has both 'layers' and 'manifests'");
  const Json* version = NANOBOX_TRY(reader.member(document, "schemaVersion"));
  if (version && version->IsInt() && version->GetInt() == 1)
    return reader.invalid("it is a docker manifest of schema 1, which is no longer in use",
                          "pull and push the image with a current docker");
  if (!version || !version->IsInt() || version->GetInt() != 2) return reader.invalid("'schemaVersion' is not 2");
  const bool told_index = one_of(kIndexTypes, media_type), told_manifest = one_of(kManifestTypes, media_type);
  const std::string_view type = !own_type.empty()             ? std::string_view(own_type)
                                : told_index || told_manifest ? media_type
                                : has_manifests               ? kIndexTypes[0]
                                                              : kManifestTypes[0];
  const bool index = one_of(kIndexTypes, type);
  if (!index && !one_of(kManifestTypes, type))
    return reader.invalid("it is of the type '" + printable(type) + "'", "name a container image");
  if ((told_index && !index) || (told_manifest && index))
    return reader.invalid("it is of the type '" + printable(type) + "' but was announced as '" + printable(media_type) +
                          "'");
  if (index) return NANOBOX_TRY(read_index(reader, document));
  return NANOBOX_TRY(read_manifest(reader, document));
}

Result<ImageConfig> parse_image_config(std::string_view json, const std::string& subject) {
  const Reader reader("read image configuration", subject);
  rapidjson::Document document;
  NANOBOX_TRY(reader.parse(document, json));
  ImageConfig config;
  config.platform = NANOBOX_TRY(reader.platform(document));
  if (const Json* run = NANOBOX_TRY(reader.object(document, "config"))) {
    config.env = NANOBOX_TRY(reader.texts(*run, "Env", 4096));
    config.entrypoint = NANOBOX_TRY(reader.texts(*run, "Entrypoint", 4096));
    config.cmd = NANOBOX_TRY(reader.texts(*run, "Cmd", 4096));
    config.working_dir = NANOBOX_TRY(reader.text(*run, "WorkingDir"));
    config.user = NANOBOX_TRY(reader.text(*run, "User"));
  }
  const Json* rootfs = NANOBOX_TRY(reader.object(document, "rootfs"));
  if (!rootfs) return reader.invalid("it has no 'rootfs'");
  const auto type = NANOBOX_TRY(reader.text(*rootfs, "type"));
  if (type != "layers") return reader.invalid("its 'rootfs' is of the type '" + printable(type) + "', not 'layers'");
  config.diff_ids = NANOBOX_TRY(reader.texts(*rootfs, "diff_ids", kMaxLayers));
  for (const auto& diff_id : config.diff_ids)
    if (!is_digest(diff_id)) return reader.invalid("the diff_id '" + printable(diff_id) + "' is none of sha256");
  return config;
}

bool platform_fits(const Platform& have, const Platform& wanted) {
  return (have.os.empty() || have.os == wanted.os) &&
         (have.architecture.empty() ||
          normal_architecture(have.architecture) == normal_architecture(wanted.architecture)) &&
         (have.variant.empty() || wanted.variant.empty() || same_variant(have, wanted));
}

Result<IndexEntry> choose_platform(const ImageIndex& index, const Platform& wanted, const std::string& subject) {
  const IndexEntry* best = nullptr;
  int best_rank = 0;
  std::string there;
  for (const auto& entry : index.entries) {
    if (!is_image_entry(entry)) continue;
    int rank = 0;
    if (!entry.platform || (entry.platform->os.empty() && entry.platform->architecture.empty())) {
      rank = 1;  // its configuration will tell
    } else {
      const auto name = to_string(*entry.platform);
      if (name != "unknown/unknown" && there.size() < 500) there += (there.empty() ? "" : ", ") + printable(name);
      if (platform_fits(*entry.platform, wanted)) rank = same_variant(*entry.platform, wanted) ? 3 : 2;
    }
    if (rank > best_rank) {
      best = &entry;
      best_rank = rank;
    }
  }
  if (best) return *best;
  return fail({.code = ErrorCode::platform_not_found,
               .attempted = "choose platform " + to_string(wanted),
               .subject = subject,
               .reason = there.empty() ? "the index lists no image" : "there is " + there,
               .mend = there.empty() ? "name a container image" : "ask for one of these, or for another image"});
}

Result<Platform> parse_platform(std::string_view text) {
  const auto invalid = [&] {
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "read platform",
                 .subject = "'" + printable(text) + "'",
                 .reason = "it is no os/architecture[/variant]",
                 .mend = "write e.g. linux/amd64"});
  };
  std::vector<std::string> parts;
  for (auto rest = text;;) {
    const auto slash = rest.find('/');
    const auto part = rest.substr(0, slash);
    if (part.empty() || part.size() > 32 || parts.size() == 3 || !std::all_of(part.begin(), part.end(), [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
        }))
      return invalid();
    parts.emplace_back(part);
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  if (parts.size() < 2) return invalid();
  return Platform{
      .os = parts[0], .architecture = normal_architecture(parts[1]), .variant = parts.size() > 2 ? parts[2] : ""};
}

std::string to_string(const Platform& platform) {
  return platform.os + "/" + platform.architecture + (platform.variant.empty() ? "" : "/" + platform.variant);
}

}  // namespace nanobox
