#pragma once

#include <cstdint>
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

/// What a warmup is asked for; equal requests for an equal digest are one template.
struct WarmupRequest {
  std::string name;
  std::string owner;
  ImageRequest image;
  Resources resources;
  bool snapshot = true;
  bool sshd = false;
  bool force = false;
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

  bool usable() const { return !rootfs.identity.empty(); }
};

std::string to_json(const Template& entry, std::size_t sandboxes);
/// The store's form, and back.
std::string to_record(const Template& entry);
std::optional<Template> template_from_record(std::string_view json);

}  // namespace nanobox
