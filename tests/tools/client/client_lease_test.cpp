#include "tests/tools/client/client_fixture.hpp"
#include "tools/nanobox/lease.hpp"
#include "tools/nanobox/server_address.hpp"

using namespace nanobox;

namespace {

cli::ServerAddress server_of(const Client& client) {
  const auto line = [&](const char* name) {
    const auto text = content_of(client.private_folder() / name);
    return text.substr(0, text.find('\n'));
  };
  return {.url = cli::server_url(line("address")).value(), .key = line("key")};
}

}  // namespace

TEST_CASE("the end of a sandbox in use is moved where it is near, and only there", "[client]") {
  const ClientWithSandbox client({"STAND_IN_LIFE=100"});
  const auto renew = cli::lease_of(server_of(client), "sb-0");
  renew();
  CHECK(client.count("POST /api/v1/sandboxes/sb-0/keepalive") == 1);
  renew();
  CHECK(client.count("POST /api/v1/sandboxes/sb-0/keepalive") == 1);
}

TEST_CASE("for a sandbox that is gone nothing is moved", "[client]") {
  const ClientWithSandbox client;
  cli::lease_of(server_of(client), "sb-9")();
  CHECK(client.count("GET /api/v1/sandboxes/sb-9\n") == 1);
  CHECK(client.count("keepalive") == 0);
}
