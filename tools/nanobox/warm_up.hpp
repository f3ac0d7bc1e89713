#pragma once

#include <optional>
#include <string>

#include "config/error.hpp"
#include "tools/nanobox/api_client.hpp"
#include "tools/nanobox/options.hpp"

namespace nanobox::cli {

/// What to warm up.
struct WarmUp {
  std::string image;
  std::string name;
  std::optional<std::uint64_t> vcpu, memory_mb, disk_mb;
  std::string platform;  ///< empty: the server's
  std::string username;
  std::string password;
  bool snapshot = true;
  bool force = false;
  bool quiet = false;  ///< no progress
};

/// Asks for the warmup and shows its progress until the template is ready. @returns the template's JSON
/// @errors the server's, or what the warmup failed with
Result<std::string> warm_up(ApiClient& client, const WarmUp& wanted);

/// The resources of a request, from --vcpu, --memory and --disk.
struct SizeOptions {
  std::optional<std::uint64_t> vcpu, memory_mb, disk_mb;
};
Result<SizeOptions> read_sizes(const Arguments& arguments);

}  // namespace nanobox::cli
