#pragma once

#include <optional>
#include <string>

#include "config/error.hpp"
#include "tools/nanobox/api_client.hpp"
#include "tools/nanobox/options.hpp"

namespace nanobox::cli {

/// What runs in the template before its snapshot is taken.
struct PrimeCall {
  std::string command;  ///< for /bin/sh -c
  bool background = false;
  std::optional<std::uint64_t> ready_port;  ///< in the background: done when something listens there, or
  std::string ready_command;                ///< when this ends with 0
  std::optional<std::uint64_t> ready_sec;   ///< the longest it may take
};
/// From --prime and what goes with it. @errors invalid_value
Result<std::optional<PrimeCall>> read_prime(const Arguments& arguments);

/// What to warm up.
struct WarmUp {
  std::string image;
  std::string name;
  std::optional<std::uint64_t> vcpu, memory_mb, disk_mb;
  std::string platform;  ///< empty: the server's
  std::string username;
  std::string password;
  bool snapshot = true;
  std::optional<PrimeCall> prime = {};
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
