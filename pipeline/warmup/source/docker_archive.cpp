#include "pipeline/warmup/source/docker_archive.hpp"

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "config/sha256.hpp"
#include "pipeline/warmup/source/json_read.hpp"
#include "pipeline/warmup/source/local_file.hpp"
#include "pipeline/warmup/source/manifest.hpp"
#include "pipeline/warmup/source/tar_reader.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kMaxMembers = 100'000;
constexpr std::size_t kMaxLayers = 1024;
constexpr int kMaxLinks = 8;
constexpr std::string_view kConfigType = "application/vnd.docker.container.image.v1+json";

std::string normal_name(const std::string& name) {
  auto text = std::filesystem::path("/" + name).lexically_normal().string();
  return text.substr(1);
}

/// Members of the tar by normalised name; a later one of the same name replaces the former, as extracting would.
using Members = std::map<std::string, TarReader::Member>;

const TarReader::Member* find_file(const Members& members, std::string name) {
  for (int links = 0; links <= kMaxLinks; ++links) {
    const auto found = members.find(normal_name(name));
    if (found == members.end()) return nullptr;
    const auto& member = found->second;
    if (member.type == TarReader::Member::Type::file) return &member;
    if (member.type != TarReader::Member::Type::link) return nullptr;
    name = member.hard_link || member.target.starts_with("/")
               ? member.target
               : (std::filesystem::path(found->first).parent_path() / member.target).string();
  }
  return nullptr;
}

std::optional<std::string> compression_of(std::string_view head) {
  if (head.starts_with("\x1f\x8b")) return "gzip";
  if (head.starts_with("\x28\xb5\x2f\xfd")) return "zstd";
  return std::nullopt;
}

std::string tag_of(const std::string& repo_tag) {
  const auto colon = repo_tag.rfind(':');
  return colon == std::string::npos || repo_tag.find('/', colon) != std::string::npos ? "" : repo_tag.substr(colon + 1);
}

void put_descriptor(rapidjson::Writer<rapidjson::StringBuffer>& json, const Descriptor& descriptor) {
  json.StartObject();
  json.Key("mediaType");
  json.String(descriptor.media_type.c_str());
  json.Key("digest");
  json.String(descriptor.digest.c_str());
  json.Key("size");
  json.Uint64(descriptor.size);
  json.EndObject();
}

std::string manifest_of(const Descriptor& config, const std::vector<Descriptor>& layers) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
  json.StartObject();
  json.Key("schemaVersion");
  json.Int(2);
  json.Key("mediaType");
  json.String("application/vnd.docker.distribution.manifest.v2+json");
  json.Key("config");
  put_descriptor(json, config);
  json.Key("layers");
  json.StartArray();
  for (const auto& layer : layers) put_descriptor(json, layer);
  json.EndArray();
  json.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

/// What manifest.json says of one image.
struct SavedImage {
  std::string config;
  std::vector<std::string> layers;
  std::vector<std::string> repo_tags;
};

}  // namespace

Result<std::shared_ptr<ImageSource>> DockerArchive::open(const LocalReference& reference,
                                                         const ImageSourceSettings& settings) {
  auto file = NANOBOX_TRY(open_below(settings.local_roots, reference.path, false));
  return std::shared_ptr<ImageSource>(new DockerArchive(reference, std::move(file), settings.max_manifest_bytes));
}

tl::unexpected<Error> DockerArchive::invalid(std::string reason) const {
  return fail({.code = ErrorCode::manifest_invalid,
               .attempted = "read image",
               .subject = canonical_name(reference_),
               .reason = std::move(reason),
               .mend = "name a file written by docker save"});
}

Result<const DockerArchive::Contents*> DockerArchive::contents(const StageContext& context) {
  const std::lock_guard lock(mutex_);
  if (!contents_) contents_ = std::make_unique<const Contents>(NANOBOX_TRY(read_contents(context)));
  return contents_.get();
}

Result<DockerArchive::Contents> DockerArchive::read_contents(const StageContext& context) const {
  const auto name = canonical_name(reference_);
  const auto small_text = [&](std::string& text, const std::string& what) {
    return [this, &text, what](std::string_view bytes) -> Result<void> {
      if (text.size() + bytes.size() > max_manifest_bytes_)
        return invalid("'" + what + "' is larger than " + std::to_string(max_manifest_bytes_) + " bytes");
      text += bytes;
      return {};
    };
  };

  // First walk: which members there are, and manifest.json.
  Members members;
  std::string manifest_json;
  {
    auto tar = NANOBOX_TRY(TarReader::open(file_, name));
    for (auto member = NANOBOX_TRY(tar.next(context)); member; member = NANOBOX_TRY(tar.next(context))) {
      if (members.size() >= kMaxMembers) return invalid("it has more than 100000 members");
      const auto key = normal_name(member->name);
      if (key == "manifest.json" && member->type == TarReader::Member::Type::file) {
        manifest_json.clear();
        NANOBOX_TRY(tar.read(context, small_text(manifest_json, key)));
      }
      members.insert_or_assign(key, std::move(*member));
    }
  }
  if (manifest_json.empty()) return invalid("it holds no manifest.json");

  // The image asked for.
  rapidjson::Document document;
  if (!parse_json(document, manifest_json) || !document.IsArray()) return invalid("its manifest.json is no JSON array");
  std::vector<SavedImage> images;
  std::string tags;
  for (const auto& item : document.GetArray()) {
    if (!item.IsObject()) return invalid("its manifest.json holds something that is no object");
    SavedImage image{.config = json_text(item, "Config"),
                     .layers = json_texts(item, "Layers"),
                     .repo_tags = json_texts(item, "RepoTags")};
    for (const auto& tag : image.repo_tags)
      if (tags.size() < 500) tags += (tags.empty() ? "" : ", ") + tag;
    const bool tagged = std::any_of(image.repo_tags.begin(), image.repo_tags.end(),
                                    [&](const auto& tag) { return tag_of(tag) == reference_.tag; });
    if (reference_.tag.empty() || tagged) images.push_back(std::move(image));
  }
  if (images.size() != 1)
    return fail({.code = ErrorCode::image_not_found,
                 .attempted = "read image",
                 .subject = name,
                 .reason = tags.empty() ? "its images have no tags"
                                        : (images.empty() ? "it holds " : "several fit: it holds ") + tags,
                 .mend = "name one of its tags, or save one image alone"});
  const auto& image = images.front();
  if (image.layers.size() > kMaxLayers) return invalid("it has more than 1024 layers");

  const auto* config_member = find_file(members, image.config);
  if (!config_member) return invalid("its configuration '" + image.config + "' is missing");
  std::vector<const TarReader::Member*> layer_members;
  for (const auto& layer : image.layers) {
    layer_members.push_back(find_file(members, layer));
    if (!layer_members.back()) return invalid("its layer '" + layer + "' is missing");
  }

  // Second walk: the configuration, and of each layer its compression and, where compressed, its digest.
  struct Seen {
    std::string media_type, digest;
  };
  std::map<std::uint64_t, Seen> seen;
  std::set<std::uint64_t> wanted;
  for (const auto* layer : layer_members) wanted.insert(layer->position);
  std::string config_json;
  auto tar = NANOBOX_TRY(TarReader::open(file_, name));
  for (auto member = NANOBOX_TRY(tar.next(context)); member; member = NANOBOX_TRY(tar.next(context))) {
    if (member->position == config_member->position) {
      NANOBOX_TRY(tar.read(context, small_text(config_json, image.config)));
    } else if (wanted.contains(member->position)) {
      std::string head;
      std::optional<Sha256> sha;
      const Error plain{.code = ErrorCode::cancelled, .attempted = "", .subject = "", .reason = "", .mend = ""};
      bool is_plain = false;
      auto read = tar.read(context, [&](std::string_view bytes) -> Result<void> {
        if (!sha) {
          head = bytes.substr(0, 4);
          if (!compression_of(head)) {
            is_plain = true;  // its digest is its diff_id: enough seen
            return fail(plain);
          }
          sha.emplace();
        }
        sha->update(bytes);
        return {};
      });
      if (!read && !is_plain) return fail(std::move(read).error());
      auto& layer = seen[member->position];
      const auto compression = compression_of(head);
      layer.media_type = "application/vnd.oci.image.layer.v1.tar" + (compression ? "+" + *compression : std::string());
      if (sha) layer.digest = sha->finish();
    }
  }

  const auto config = NANOBOX_TRY(parse_image_config(config_json, name));
  if (config.diff_ids.size() != layer_members.size())
    return invalid("it has " + std::to_string(layer_members.size()) + " layers but its configuration " +
                   std::to_string(config.diff_ids.size()) + " diff_ids");
  Contents contents;
  const Descriptor config_descriptor{
      .media_type = std::string(kConfigType), .digest = digest_of(config_json), .size = config_json.size(), .urls = {}};
  contents.by_digest[config_descriptor.digest] = {.position = config_member->position, .size = config_json.size()};
  std::vector<Descriptor> layers;
  for (std::size_t i = 0; i < layer_members.size(); ++i) {
    const auto& layer = seen[layer_members[i]->position];
    layers.push_back({.media_type = layer.media_type,
                      .digest = layer.digest.empty() ? config.diff_ids[i] : layer.digest,
                      .size = layer_members[i]->size,
                      .urls = {}});
    contents.by_digest[layers.back().digest] = {.position = layer_members[i]->position, .size = layer_members[i]->size};
  }
  contents.manifest = manifest_of(config_descriptor, layers);
  return contents;
}

Result<ManifestDocument> DockerArchive::named_document(const StageContext& context) {
  const auto* found = NANOBOX_TRY(contents(context));
  return ManifestDocument{.media_type = {}, .bytes = found->manifest, .digest = digest_of(found->manifest)};
}

Result<ManifestDocument> DockerArchive::document(const StageContext&, const Descriptor& descriptor) {
  return invalid("it holds no document " + descriptor.digest);
}

Result<void> DockerArchive::read_blob(const StageContext& context, const Descriptor& descriptor, std::uint64_t offset,
                                      const BlobSink& sink) {
  const auto* found = NANOBOX_TRY(contents(context));
  const auto wanted = found->by_digest.find(descriptor.digest);
  if (wanted == found->by_digest.end()) return invalid("it no longer holds " + descriptor.digest);
  auto tar = NANOBOX_TRY(TarReader::open(file_, canonical_name(reference_)));
  for (auto member = NANOBOX_TRY(tar.next(context)); member; member = NANOBOX_TRY(tar.next(context))) {
    if (member->position != wanted->second.position) continue;
    std::uint64_t skip = offset;
    return tar.read(context, [&](std::string_view bytes) -> Result<void> {
      const auto skipped = std::min<std::uint64_t>(skip, bytes.size());
      skip -= skipped;
      bytes.remove_prefix(skipped);
      return bytes.empty() ? Result<void>{} : sink(bytes);
    });
  }
  return invalid("it no longer holds " + descriptor.digest);
}

}  // namespace nanobox
