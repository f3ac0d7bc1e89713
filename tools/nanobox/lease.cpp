#include "tools/nanobox/lease.hpp"

#include <memory>

#include "config/clock.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/sandbox_calls.hpp"

namespace nanobox::cli {

namespace {
using namespace std::chrono_literals;

constexpr auto kNear = 3 * kLeaseTick;
constexpr auto kLease = 5 * kLeaseTick;
constexpr auto kPatience = 3s;
}  // namespace

std::function<void()> lease_of(const ServerAddress& server, const std::string& sandbox_id) {
  return [client = std::make_shared<ApiClient>(server, nullptr), path = sandbox_path(sandbox_id)] {
    const auto sandbox = client->ask({.method = "GET", .path = path, .body = "", .patience = kPatience});
    if (!sandbox) return;
    const auto end = from_rfc3339(json_text(sandbox->json(), "expires_at"));
    if (!end || *end > std::chrono::system_clock::now() + kNear) return;
    (void)client->send({.method = "POST",
                        .path = path + "/keepalive",
                        .body = "{\"timeout_sec\":" + std::to_string(std::chrono::seconds(kLease).count()) + "}",
                        .patience = kPatience});
  };
}

}  // namespace nanobox::cli
