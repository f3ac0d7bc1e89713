#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/error.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

/// An entry of an index: what it is for, and how a layout names it.
struct IndexEntry {
  Descriptor descriptor;
  std::optional<Platform> platform;
  std::string ref_name;  ///< annotation org.opencontainers.image.ref.name
};

struct ImageIndex {
  std::vector<IndexEntry> entries;
};

struct ImageManifest {
  Descriptor config;
  std::vector<Descriptor> layers;  ///< bottom first
};

/// Reads a Docker schema 2 or OCI manifest, manifest list or index.
/// @param media_type  the source's word for it; the document's own `mediaType` must not contradict
/// @param subject     for errors: the image's name
/// @errors manifest_invalid · layer_unsupported
Result<std::variant<ImageManifest, ImageIndex>> parse_manifest(std::string_view json, std::string_view media_type,
                                                               const std::string& subject);

/// Reads an OCI (or Docker) image configuration. @errors manifest_invalid
Result<ImageConfig> parse_image_config(std::string_view json, const std::string& subject);

/// The best entry for `wanted`. @errors platform_not_found (the reason lists what there is)
Result<IndexEntry> choose_platform(const ImageIndex& index, const Platform& wanted, const std::string& subject);

/// Whether an image made for `have` runs where `wanted` is asked for; a variant counts only where both have one.
bool platform_fits(const Platform& have, const Platform& wanted);

/// "linux/amd64", "linux/arm64/v8"; architectures under the names of uname too. @errors invalid_value
Result<Platform> parse_platform(std::string_view text);
std::string to_string(const Platform& platform);

/// Whether `media_type` is that of an index or manifest list.
bool is_index_type(std::string_view media_type);

/// Whether `media_type` is one of the layers that registries do not hold, fetched by the descriptor's `urls`.
bool is_foreign_layer(std::string_view media_type);

}  // namespace nanobox
