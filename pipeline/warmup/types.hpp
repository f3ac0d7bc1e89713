#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

class BlobArrival;

struct Platform {
  std::string os = "linux";
  std::string architecture = "amd64";
  std::string variant;
  bool operator==(const Platform&) const = default;
};

/// User name and password (or token) for a registry. Never logged, never stored.
struct Credentials {
  std::string username;
  std::string password;
  bool operator==(const Credentials&) const = default;
};

/// Where blobs and roots live: DATA/oci-cache, each with a `.tmp/` for what is half written.
struct CacheFolders {
  std::filesystem::path blobs;   ///< …/blobs; a blob is blobs/sha256/<hex>
  std::filesystem::path rootfs;  ///< …/rootfs; a root is <identity>.ext4 with <identity>.json beside it
};

/// The settings of `[oci]` that decide how images are found.
struct ImageSourceSettings {
  std::vector<std::filesystem::path> local_roots;  ///< `oci:` and `docker-archive:` only below these
  std::vector<std::string> insecure_registries;    ///< host[:port]; plain http is tried for these and for loopback
  std::filesystem::path ca_file;                   ///< empty: the system's
  std::filesystem::path docker_config;             ///< empty: none
  struct RegistryCredentials {
    std::string registry;
    Credentials credentials;
  };
  std::vector<RegistryCredentials> credentials;
  std::uint64_t max_manifest_bytes = 4U << 20;
};

/// OCI descriptor (image-spec descriptor.md).
struct Descriptor {
  std::string media_type;
  std::string digest;  ///< "sha256:<64 hex>"
  std::uint64_t size = 0;
  std::vector<std::string> urls;
  bool operator==(const Descriptor&) const = default;
};

/// What of the OCI image configuration (image-spec config.md) matters to us.
struct ImageConfig {
  Platform platform;
  std::vector<std::string> env;  ///< "K=V"
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::string working_dir;
  std::string user;
  std::vector<std::string> diff_ids;  ///< by position, one a layer
  bool operator==(const ImageConfig&) const = default;
};

/// What a warmup is asked to make.
struct ImageRequest {
  std::string image;  ///< as the user wrote it
  std::optional<Credentials> credentials;
  Platform platform;
  bool operator==(const ImageRequest&) const = default;
};

/// An image whose manifest and configuration are known and checked. Blobs are not here yet.
struct ResolvedImage {
  std::string name;    ///< canonical: "docker.io/library/node:22-alpine", "oci:/dir:tag"
  std::string digest;  ///< of the platform's manifest, "sha256:…"
  Descriptor config_descriptor;
  std::string config_json;  ///< the configuration's exact bytes
  ImageConfig config;
  std::vector<Descriptor> layers;  ///< bottom first; as many as config.diff_ids
  std::uint64_t total_bytes() const {
    std::uint64_t sum = 0;
    for (const auto& layer : layers) sum += layer.size;
    return sum;
  }
};

/// An image whose layers are arriving: one arrival a layer, by position (equal digests share one).
struct PullingImage {
  ResolvedImage image;
  std::vector<std::shared_ptr<BlobArrival>> layers;
  std::shared_ptr<const void> downloads;  ///< holds the downloads; letting go ends what no other image waits for
};

/// A finished root file system in the cache.
struct BuiltRootfs {
  std::string identity;  ///< hex digest of image config + layers + platform + init version + builder version
  std::filesystem::path image_path;  ///< <rootfs>/<identity>.ext4
  std::uint64_t size_bytes = 0;      ///< apparent size of the file
  std::uint64_t used_bytes = 0;      ///< blocks in use inside
  std::uint64_t entries = 0;
  bool operator==(const BuiltRootfs&) const = default;
};

}  // namespace nanobox
