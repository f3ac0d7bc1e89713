#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <variant>

#include "config/error.hpp"

namespace nanobox {

/// An image in a registry: what docker understands by `[registry/]repository[:tag][@digest]`, with its defaults
/// applied.
struct RegistryReference {
  std::string registry;    ///< host[:port], "docker.io" by default
  std::string repository;  ///< "library/node"
  std::string tag;         ///< "latest" by default; empty only beside a digest
  std::string digest;      ///< "sha256:…" or empty; decides over the tag
};

/// An image in a folder or file of this host: `oci:/dir[:tag]`, `docker-archive:/file.tar[:tag]`.
struct LocalReference {
  enum class Form { oci_layout, docker_archive };
  Form form = Form::oci_layout;
  std::filesystem::path path;  ///< absolute, as written
  std::string tag;             ///< empty: the only one
};

using ImageReference = std::variant<RegistryReference, LocalReference>;

/// Reads an image name as a user writes it. Pure: touches no file and no network.
/// @errors image_name_invalid (the reason names what is wrong, the mend how to write it)
/// @see    https://github.com/distribution/reference
Result<ImageReference> parse_reference(std::string_view text);

/// The full name: "docker.io/library/node:22-alpine", "oci:/dir:tag".
std::string canonical_name(const ImageReference& reference);

/// Whether `text` is "sha256:" and 64 lower-case hex digits.
bool is_digest(std::string_view text);

}  // namespace nanobox
