// Manifests, indexes, configurations, tokens and docker's config.json, all written by others.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "pipeline/warmup/source/credentials.hpp"
#include "pipeline/warmup/source/manifest.hpp"
#include "pipeline/warmup/source/reference.hpp"
#include "pipeline/warmup/source/registry_auth.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nanobox;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto parsed = parse_manifest(text, "", "image")) {
    if (const auto* index = std::get_if<ImageIndex>(&*parsed)) {
      (void)choose_platform(*index, {}, "image");
    } else {
      for (const auto& layer : std::get<ImageManifest>(*parsed).layers)
        if (!is_digest(layer.digest)) std::abort();
    }
  }
  if (const auto config = parse_image_config(text, "image")) {
    for (const auto& diff_id : config->diff_ids)
      if (!is_digest(diff_id)) std::abort();
  }
  (void)parse_token(text);
  (void)parse_docker_config(text, "docker.io", "config.json");
  return 0;
}
