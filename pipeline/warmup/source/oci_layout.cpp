#include "pipeline/warmup/source/oci_layout.hpp"

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include "config/sha256.hpp"
#include "pipeline/warmup/source/json_read.hpp"
#include "pipeline/warmup/source/local_file.hpp"

namespace nanobox {

namespace {

std::string blob_path(const std::string& digest) {
  return "blobs/sha256/" + digest.substr(digest.find(':') + 1);
}

/// An index of these entries alone: one tag may stand for several, told apart by platform.
std::string index_of(const std::vector<const IndexEntry*>& entries) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
  const auto put = [&](const char* key, const std::string& value) {
    json.Key(key);
    json.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  };
  json.StartObject();
  json.Key("schemaVersion");
  json.Int(2);
  json.Key("manifests");
  json.StartArray();
  for (const auto* entry : entries) {
    json.StartObject();
    put("mediaType", entry->descriptor.media_type);
    put("digest", entry->descriptor.digest);
    json.Key("size");
    json.Uint64(entry->descriptor.size);
    if (entry->platform) {
      json.Key("platform");
      json.StartObject();
      put("os", entry->platform->os);
      put("architecture", entry->platform->architecture);
      put("variant", entry->platform->variant);
      json.EndObject();
    }
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace

Result<std::shared_ptr<ImageSource>> OciLayout::open(const LocalReference& reference,
                                                     const ImageSourceSettings& settings) {
  auto folder = NANOBOX_TRY(open_below(settings.local_roots, reference.path, true));
  std::shared_ptr<OciLayout> layout(new OciLayout(reference, std::move(folder), settings.max_manifest_bytes));
  NANOBOX_TRY(layout->check_version());
  return layout;
}

Result<void> OciLayout::check_version() const {
  const auto invalid = [&](std::string reason) {
    return fail({.code = ErrorCode::manifest_invalid,
                 .attempted = "open image",
                 .subject = canonical_name(reference_),
                 .reason = std::move(reason),
                 .mend = "name a folder in the OCI image layout"});
  };
  const auto file = open_inside(folder_, "oci-layout");
  if (!file) return invalid("it has no file 'oci-layout'");
  const auto text = NANOBOX_TRY(read_all(*file, "oci-layout", 64U << 10));
  rapidjson::Document document;
  if (!parse_json(document, text)) return invalid("its 'oci-layout' is no JSON");
  if (!json_text(document, "imageLayoutVersion").starts_with("1.")) return invalid("its 'imageLayoutVersion' is not 1");
  return {};
}

/// index.json narrowed to what the tag names: one document, or, where several have it (one a platform), an index of
/// them.
Result<ManifestDocument> OciLayout::named_document(const StageContext& context) {
  NANOBOX_TRY(context.check("read image"));
  const auto name = canonical_name(reference_);
  const auto file = NANOBOX_TRY(open_inside(folder_, "index.json"));
  ManifestDocument whole{.media_type = "application/vnd.oci.image.index.v1+json",
                         .bytes = NANOBOX_TRY(read_all(file, "index.json", max_manifest_bytes_)),
                         .digest = {}};
  whole.digest = digest_of(whole.bytes);
  const auto parsed = NANOBOX_TRY(parse_manifest(whole.bytes, whole.media_type, name));
  const auto* index = std::get_if<ImageIndex>(&parsed);
  std::vector<const IndexEntry*> chosen;
  std::string tags;
  bool several_names = false;
  for (const auto& entry : index->entries) {
    if (!entry.ref_name.empty() && tags.size() < 500) tags += (tags.empty() ? "" : ", ") + entry.ref_name;
    if (entry.ref_name != index->entries.front().ref_name) several_names = true;
    if (reference_.tag.empty() || entry.ref_name == reference_.tag) chosen.push_back(&entry);
  }
  if (chosen.empty())
    return fail({.code = ErrorCode::image_not_found,
                 .attempted = "read image",
                 .subject = name,
                 .reason = index->entries.empty() ? "the layout is empty"
                           : tags.empty()         ? "its images have no tags"
                                                  : "it holds " + tags,
                 .mend = tags.empty() ? "name the layout without a tag" : "name one of these tags"});
  if (chosen.size() == 1) return document(context, chosen.front()->descriptor);
  if (reference_.tag.empty() && !several_names) return whole;
  if (reference_.tag.empty())
    return fail({.code = ErrorCode::image_not_found,
                 .attempted = "read image",
                 .subject = name,
                 .reason = "it holds several images: " + tags,
                 .mend = "name one of them, as in " + name + ":TAG"});
  auto narrowed = index_of(chosen);
  auto digest = digest_of(narrowed);
  return ManifestDocument{.media_type = whole.media_type, .bytes = std::move(narrowed), .digest = std::move(digest)};
}

Result<ManifestDocument> OciLayout::document(const StageContext& context, const Descriptor& descriptor) {
  return ManifestDocument{.media_type = descriptor.media_type,
                          .bytes = NANOBOX_TRY(read_small_blob(*this, context, descriptor, max_manifest_bytes_)),
                          .digest = descriptor.digest};
}

Result<void> OciLayout::read_blob(const StageContext& context, const Descriptor& descriptor, std::uint64_t offset,
                                  const BlobSink& sink) {
  if (!is_digest(descriptor.digest))
    return fail({.code = ErrorCode::manifest_invalid,
                 .attempted = "read blob",
                 .subject = descriptor.digest,
                 .reason = "it is no digest",
                 .mend = ""});
  const auto file = NANOBOX_TRY(open_inside(folder_, blob_path(descriptor.digest)));
  return read_to(context, file, descriptor.digest, offset, sink);
}

}  // namespace nanobox
