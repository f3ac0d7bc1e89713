#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "tools/nanobox/api_client.hpp"

namespace nanobox::cli {

/// How often a sandbox in use is looked after.
constexpr std::chrono::seconds kLeaseTick{60};

/// Keeps a sandbox alive while somebody works in it: what is called every `kLeaseTick` moves its end where that comes
/// near, and never to an earlier time. What fails here is left to the work itself to tell.
std::function<void()> lease_of(const ServerAddress& server, const std::string& sandbox_id);

}  // namespace nanobox::cli
