#include "pipeline/warmup/rootfs/build.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string>

#include "pipeline/json_text.hpp"
#include "pipeline/warmup/rootfs/additions.hpp"
#include "pipeline/warmup/rootfs/extracted_parts.hpp"
#include "pipeline/warmup/rootfs/image_writer.hpp"
#include "pipeline/warmup/rootfs/merge.hpp"

namespace nanobox {

namespace {

constexpr const char* kAttempted = "build root file system";

std::array<std::uint8_t, 32> from_hex(const std::string& text) {
  std::array<std::uint8_t, 32> bytes{};
  for (std::size_t at = 0; at < bytes.size(); ++at)
    std::from_chars(text.data() + 2 * at, text.data() + 2 * at + 2, bytes[at], 16);
  return bytes;
}

std::string record_of(const ResolvedImage& image, const BuiltRootfs& rootfs) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "identity", rootfs.identity);
  put_text(json, "image", image.name);
  put_text(json, "digest", image.digest);
  put_text(json, "builder_version", kRootfsBuilderVersion);
  put(json, "size_bytes");
  json.Uint64(rootfs.size_bytes);
  put(json, "used_bytes");
  json.Uint64(rootfs.used_bytes);
  put(json, "entries");
  json.Uint64(rootfs.entries);
  put(json, "layers");
  json.StartArray();
  for (std::size_t at = 0; at < image.layers.size(); ++at) {
    json.StartObject();
    put_text(json, "digest", image.layers[at].digest);
    put_text(json, "diff_id", image.config.diff_ids[at]);
    put_text(json, "media_type", image.layers[at].media_type);
    put(json, "size");
    json.Uint64(image.layers[at].size);
    json.EndObject();
  }
  json.EndArray();
  put_text(json, "config", image.config_json);
  json.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

Result<BuiltRootfs> build(const StageContext& context, ExtractedImage::Parts& parts, const RootfsAdditions& additions) {
  BuiltRootfs rootfs;
  rootfs.identity = rootfs_identity(parts.image, additions.init_digest);
  DataWriter writer(parts.area, parts.file.fd());
  parts.layers.push_back(NANOBOX_TRY(additions_layer(parts.image, additions, writer)));

  // Each entry makes a node and a name; folders that only paths imply count too.
  MergedTree tree(4 * parts.budget.limits.max_entries + 64);
  for (const auto& layer : parts.layers) {
    NANOBOX_TRY(context.check(kAttempted));
    NANOBOX_TRY(tree.apply(layer));
  }
  const auto usage = NANOBOX_TRY(write_image(context, parts.file.fd(), parts.area, tree, from_hex(rootfs.identity)));
  rootfs.size_bytes = usage.size_bytes;
  rootfs.used_bytes = usage.used_bytes;
  rootfs.entries = usage.entries;
  rootfs.image_path = parts.file.folder() / (rootfs.identity + ".ext4");
  NANOBOX_TRY(context.check(kAttempted));

  auto record = NANOBOX_TRY(HalfFile::create(parts.file.folder()));
  const auto text = record_of(parts.image, rootfs);
  NANOBOX_TRY(write_at(record.fd(), 0, std::as_bytes(std::span(text))));
  if (::fchmod(parts.file.fd(), 0444) != 0) return fail(errno_error(errno, "protect image", rootfs.identity));
  NANOBOX_TRY(parts.file.publish(rootfs.identity + ".ext4"));
  if (auto published = record.publish(rootfs.identity + ".json"); !published) {
    (void)remove_rootfs(parts.file.folder(), rootfs.identity);
    return fail(std::move(published).error());
  }
  NANOBOX_TRY(sync_folder(parts.file.folder()));
  context.report({.done_bytes = usage.used_bytes,
                  .total_bytes = usage.used_bytes,
                  .detail = std::to_string(usage.entries) + " entries"});
  return rootfs;
}

}  // namespace

Result<BuiltRootfs> build_rootfs(const StageContext& context, ExtractedImage extracted,
                                 const RootfsAdditions& additions) {
  try {
    return build(context, extracted.parts(), additions).map_error([&](const Error& error) {
      return extracted.parts().file.named(error);
    });
  } catch (const std::exception& error) {
    return fail({.code = ErrorCode::internal,
                 .attempted = kAttempted,
                 .subject = extracted.parts().image.name,
                 .reason = error.what(),
                 .mend = ""});
  }
}

}  // namespace nanobox
