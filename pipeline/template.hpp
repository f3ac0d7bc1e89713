#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/clock.hpp"
#include "config/error.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

/// A sandbox's size.
struct Resources {
  std::uint32_t vcpu = 1;
  std::uint32_t memory_mb = 512;
  std::uint32_t disk_mb = 2048;
  bool operator==(const Resources&) const = default;
};

enum class TemplateStatus : std::uint8_t { queued = 1, running, ready, failed };
std::string_view to_string(TemplateStatus status);

/// What runs in a template before its snapshot is taken.
struct Prime {
  /// When a command in the background has done its part.
  struct Ready {
    std::string command;     ///< run by /bin/sh -c, again until it ends with 0; or
    std::uint16_t port = 0;  ///< something listens there
    std::uint32_t timeout_ms = 60'000;
    bool operator==(const Ready&) const = default;
  };
  std::string command;
  std::vector<std::string> args;
  bool background = false;  ///< goes on running in every copy; else it must end with 0
  std::optional<Ready> ready;
  bool operator==(const Prime&) const = default;
};

enum class SnapshotStatus : std::uint8_t { none = 1, making, ready, failed };
std::string_view to_string(SnapshotStatus status);

/// What a warmup is asked for; equal requests for an equal digest are one template.
struct WarmupRequest {
  std::string name;
  std::string owner;
  ImageRequest image;
  Resources resources;
  bool snapshot = true;
  bool sshd = false;
  std::optional<Prime> prime = {};
  bool force = false;
  bool operator==(const WarmupRequest&) const = default;
};

/// A template: the current version of a name, and the run that makes the next.
struct Template {
  std::string name;
  std::string owner;
  std::string image;  ///< as asked for
  Platform platform;
  Resources resources;
  bool snapshot = true;
  bool sshd = false;
  std::optional<Prime> prime = {};
  std::string parent;  ///< the template of the sandbox that it was made from; empty: from an image
  TemplateStatus status = TemplateStatus::queued;
  std::string operation_id;    ///< the latest run
  std::optional<Error> error;  ///< of the latest run
  WallTime created_at{};
  WallTime updated_at{};
  // Filled by `publish`; empty until a first version is there.
  std::string digest;
  std::vector<Descriptor> layers;
  ImageConfig config;
  BuiltRootfs rootfs;
  std::filesystem::path disk;  ///< its own disk over the root, qcow2, of a template made from a sandbox
  SnapshotStatus snapshot_status = SnapshotStatus::none;
  std::string snapshot_key;  ///< its snapshots' folder
  std::optional<Error> snapshot_error;

  /// A version was once ready: it serves while the next is made, its snapshot included.
  bool served = false;

  bool usable() const { return served && !rootfs.identity.empty(); }
  bool operator==(const Template&) const = default;
};

std::string to_json(const Template& entry, std::size_t sandboxes);
/// The store's form, and back.
std::string to_record(const Template& entry);
std::optional<Template> template_from_record(std::string_view json);

}  // namespace nanobox
