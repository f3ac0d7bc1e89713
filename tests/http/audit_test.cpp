#include <catch2/catch.hpp>

#include "edge_fixture.hpp"
#include "http/audit.hpp"
#include "http/capacity_refusal.hpp"

using namespace nanobox;
using namespace nanobox::http;
using namespace std::chrono_literals;

namespace {

ServedRequest request(Method method, std::string route) {
  ServedRequest made;
  made.method = method;
  made.route = std::move(route);
  made.owner = "ann";
  made.peer_address = "192.0.2.7";
  made.request_id = "rq-1";
  made.status = 200;
  made.duration = 12'345us;
  return made;
}

std::string action(Method method, std::string route) {
  const auto entry = audit_entry(request(method, std::move(route)));
  return entry ? entry->action : "none";
}

}  // namespace

TEST_CASE("what changes something or looks inside is in the audit, what only reads is not", "[audit]") {
  CHECK(action(Method::post, "/api/v1/sandboxes") == "sandbox.create");
  CHECK(action(Method::del, "/api/v1/sandboxes/{id}") == "sandbox.delete");
  CHECK(action(Method::post, "/api/v1/sandboxes/{id}/exec") == "sandbox.exec");
  CHECK(action(Method::post, "/api/v1/sandboxes/{id}/fork") == "sandbox.fork");
  CHECK(action(Method::put, "/api/v1/sandboxes/{id}/network") == "sandbox.network");
  CHECK(action(Method::get, "/api/v1/sandboxes/{id}/files") == "sandbox.files");
  CHECK(action(Method::head, "/api/v1/sandboxes/{id}/files") == "sandbox.files");
  CHECK(action(Method::get, "/api/v1/sandboxes/{id}/terminal") == "sandbox.terminal");
  CHECK(action(Method::get, "/api/v1/sandboxes/{id}/tcp/{port}") == "sandbox.tcp");
  CHECK(action(Method::get, "/api/v1/sandboxes/{id}/ports/{port}/{rest...}") == "sandbox.ports");
  CHECK(action(Method::post, "/api/v1/sandboxes/{id}/processes/{process_id}/stdin") == "sandbox.stdin");
  CHECK(action(Method::post, "/api/v1/templates/warmup") == "template.warmup");
  CHECK(action(Method::post, "/api/v1/nodes/{id}/drain") == "node.drain");
  CHECK(action(Method::put, "/api/v1/log") == "log.put");
  for (const auto* route : {"/api/v1/sandboxes", "/api/v1/sandboxes/{id}", "/api/v1/audit", "/healthz"})
    CHECK(action(Method::get, route) == "none");
  auto nobody = request(Method::post, "/api/v1/sandboxes");
  nobody.owner.clear();
  CHECK_FALSE(audit_entry(nobody));
  CHECK(action(Method::post, "") == "none");
}

TEST_CASE("an entry says who did what to what, and what came of it", "[audit]") {
  auto served = request(Method::post, "/api/v1/sandboxes/{id}/exec");
  served.subject = "sb-1";
  served.status = 404;
  served.notes = {{"command", "sh"}, {"arg", "-c"}, {"arg", "ls \"x\""}, {"code", "sandbox_not_found"}};
  const auto entry = audit_entry(served).value();
  CHECK(entry.owner == "ann");
  CHECK(entry.peer == "192.0.2.7");
  CHECK(entry.request_id == "rq-1");
  CHECK(entry.subject == "sb-1");
  CHECK(entry.method == "POST");
  CHECK(entry.status == 404);
  CHECK(entry.code == "sandbox_not_found");
  CHECK(entry.duration_ms == 12);
  CHECK(entry.detail == R"({"command":"sh","args":["-c","ls \"x\""]})");
}

TEST_CASE("a detail holds nothing that is not known to be fit for it", "[audit]") {
  auto served = request(Method::post, "/api/v1/sandboxes");
  served.notes = {{"sandbox", "sb-2"},  {"template", "web"},   {"env", "TOKEN=hunter2"},
                  {"stdin", "hunter2"}, {"detail", "hunter2"}, {"password", "hunter2"}};
  const auto entry = audit_entry(served).value();
  CHECK(entry.subject == "sb-2");
  CHECK(entry.detail == R"({"template":"web"})");
  served.notes = {{"mode", "internet"}, {"rate_limit_mbps", "10"}, {"allow_domain", "a"}, {"allow_domain", "b"}};
  CHECK(audit_entry(served)->detail == R"({"mode":"internet","rate_limit_mbps":10,"allow_domains":["a","b"]})");
  served.notes = {{"path", "/\xff"}, {"op", "read"}};
  CHECK(audit_entry(served)->detail == "{\"op\":\"read\",\"path\":\"/\xef\xbf\xbd\"}");
  served.notes.clear();
  CHECK(audit_entry(served)->detail.empty());
}

TEST_CASE("long command lines are noted by their beginning", "[audit]") {
  std::optional<ServedRequest> served;
  test::Signal done;
  Router router;
  router.add(Method::post, "/run", [](const Request&, Responder responder) {
    std::vector<std::string> argv = {"sh", "-c", std::string(1 << 20, 'x')};
    argv.resize(500, "y");
    note_command(responder, argv);
    responder.send(200);
  });
  ServerSettings settings;
  settings.served = [&](const ServedRequest& request) {
    served = request;
    done.set();
  };
  test::Edge edge(std::move(router), std::move(settings));
  test::Client client(edge.port());
  client.post("/run", "");
  REQUIRE(client.read());
  REQUIRE(done.wait());
  std::size_t bytes = 0;
  for (const auto& [key, value] : served->notes) bytes += value.size();
  CHECK(bytes < 10'000);
  CHECK(served->notes.front() == std::pair<std::string, std::string>("command", "sh"));
  CHECK(served->notes.back() == std::pair<std::string, std::string>("args_left_out", "497"));
}

TEST_CASE("refusals for want of room are told once a second, the others counted", "[events]") {
  CapacityRefusals refusals;
  const auto now = CapacityRefusals::Clock::now();
  auto served = request(Method::post, "/api/v1/sandboxes");
  CHECK_FALSE(refusals.seen(served, now));
  served.status = 503;
  served.notes = {{"code", "shutting_down"}};
  CHECK_FALSE(refusals.seen(served, now));
  served.notes = {{"code", "no_capacity"}, {"detail", "no node has room"}};
  const auto first = refusals.seen(served, now);
  REQUIRE(first);
  CHECK(first->code == "no_capacity");
  CHECK(first->detail == "no node has room");
  CHECK(first->method == "POST");
  CHECK_FALSE(refusals.seen(served, now + 1ms));
  CHECK_FALSE(refusals.seen(served, now + 2ms));
  auto other = served;
  other.owner = "bob";
  CHECK(refusals.seen(other, now + 2ms)->more == 0);
  CHECK(refusals.seen(served, now + 1s)->more == 2);
  served.status = 429;
  served.notes = {{"code", "too_many_requests"}};
  CHECK(refusals.seen(served, now + 1s));
}
