#include <catch2/catch.hpp>

#include <atomic>

#include "config/sha256.hpp"
#include "pipeline/warmup/source/registry_auth.hpp"
#include "pulling.hpp"
#include "scripted_server.hpp"

namespace nanobox {
namespace {

using Request = ScriptedServer::Request;
using Reply = ScriptedServer::Reply;

const Credentials kUser{"alice", "Pa55phrase"};

ImageRequest request_for(const ScriptedServer& server, std::optional<Credentials> credentials = std::nullopt) {
  return {.image = server.host() + "/team/app:1", .credentials = std::move(credentials), .platform = {}};
}

void check_keeps_secret(const Error& error) {
  CHECK_THAT(describe(error), !Catch::Contains(kUser.password) && !Catch::Contains(encode_base64("alice:Pa55phrase")));
}

TEST_CASE_METHOD(Puller, "a token is fetched from where the registry says, and used", "[hostile]") {
  const auto image = make_image({noise(50'000, 1), noise(50'000, 2)});
  ScriptedServer tokens([](const Request& request) -> Reply {
    if (request.header("authorization") != basic_authorization(kUser)) return {.status = 401};
    return {.body = R"({"token":"t0ken"})"};
  });
  ScriptedServer registry([&](const Request& request) -> Reply {
    if (request.header("authorization") != "Bearer t0ken")
      return {.status = 401,
              .headers = {{"WWW-Authenticate", "Bearer realm=\"http://" + tokens.host() +
                                                   "/token\",service=\"reg\",scope=\"repository:team/app:pull\""}}};
    return serve_image(image, request);
  });
  const auto request = request_for(registry, kUser);
  const auto resolved = resolve_image(context, settings, request);
  REQUIRE(resolved);
  const auto pulling = pull_image(context, *cache, settings, request, *resolved);
  REQUIRE(pulling);
  for (const auto& layer : pulling->layers) CHECK(layer->wait_complete({}));
  REQUIRE(tokens.count("GET", "/token?service=reg&scope=repository:team/app:pull") >= 1);
  // The password went to the token server alone.
  for (const auto& seen : registry.requests()) CHECK_THAT(seen.header("authorization"), !Catch::StartsWith("Basic"));

  const auto stranger = resolve_image(context, settings, request_for(registry));
  REQUIRE_FALSE(stranger);
  CHECK(stranger.error().code == ErrorCode::registry_unauthorized);
  CHECK_THAT(stranger.error().mend, Catch::Contains("credentials"));
}

TEST_CASE_METHOD(Puller, "an expired token is replaced in the middle of a pull", "[hostile]") {
  const auto image = make_image({noise(500, 1), noise(500, 2), noise(500, 3)});
  std::atomic<int> issued = 0, used = 0;
  ScriptedServer registry([&](const Request& request) -> Reply {
    if (request.path.starts_with("/token")) return {.body = R"({"token":"t)" + std::to_string(++issued) + R"("})"};
    if (request.header("authorization") != "Bearer t" + std::to_string(issued.load()) || ++used == 3)
      return {.status = 401,
              .headers = {{"WWW-Authenticate", "Bearer realm=\"http://" + request.header("host") + "/token\""}}};
    return serve_image(image, request);
  });
  CHECK(pull(registry.host() + "/team/app:1"));
  CHECK(issued >= 2);
}

TEST_CASE_METHOD(Puller, "refusals are told apart", "[hostile]") {
  struct Case {
    int status;
    ErrorCode code;
    bool transient;
  };
  const auto expected = GENERATE(values<Case>({{401, ErrorCode::registry_unauthorized, false},
                                               {403, ErrorCode::registry_forbidden, false},
                                               {404, ErrorCode::image_not_found, false},
                                               {418, ErrorCode::registry_failed, false},
                                               {429, ErrorCode::registry_rate_limited, true},
                                               {500, ErrorCode::registry_failed, true},
                                               {503, ErrorCode::registry_failed, true}}));
  ScriptedServer registry([&](const Request&) -> Reply {
    return {.status = expected.status,
            .headers = {{"Retry-After", "17"}},
            .body = R"({"errors":[{"code":"DENIED","message":"Pa55phrase"}]})"};
  });
  const auto resolved = resolve_image(context, settings, request_for(registry, kUser));
  REQUIRE_FALSE(resolved);
  CHECK(resolved.error().code == expected.code);
  CHECK(resolved.error().transient == expected.transient);
  if (expected.status != 401) CHECK(resolved.error().retry_after_sec == 17);
  if (expected.status != 401)
    CHECK_THAT(resolved.error().reason, Catch::Contains(std::to_string(expected.status) + " DENIED"));
  CHECK(registry.requests().size() == 1);
  check_keeps_secret(resolved.error());
}

TEST_CASE_METHOD(Puller, "a registry asking for a scheme that we do not know is told so", "[hostile]") {
  ScriptedServer registry([&](const Request&) -> Reply {
    return {.status = 401, .headers = {{"WWW-Authenticate", "Digest realm=\"x\""}}};
  });
  const auto resolved = resolve_image(context, settings, request_for(registry, kUser));
  REQUIRE_FALSE(resolved);
  CHECK(resolved.error().code == ErrorCode::registry_unauthorized);
  CHECK_THAT(resolved.error().reason, Catch::Contains("no way to log in"));
}

TEST_CASE_METHOD(Puller, "credentials are not carried along a redirect to another host, nor may that host ask for them",
                 "[hostile]") {
  const auto image = make_image({noise(50'000, 1)});
  std::atomic<bool> greedy = false;
  ScriptedServer elsewhere([&](const Request& request) -> Reply {
    if (request.path.starts_with("/token")) return {.body = R"({"token":"x"})"};
    if (greedy)
      return {.status = 401,
              .headers = {{"WWW-Authenticate", "Bearer realm=\"http://" + request.header("host") + "/token\""}}};
    return serve_image(image, request);
  });
  ScriptedServer registry([&](const Request& request) -> Reply {
    if (request.header("authorization") != basic_authorization(kUser))
      return {.status = 401, .headers = {{"WWW-Authenticate", "Basic realm=\"r\""}}};
    if (request.path.find("/blobs/") != std::string::npos)
      return {.status = 307, .headers = {{"Location", "http://" + elsewhere.host() + request.path}}};
    return serve_image(image, request);
  });
  const auto request = request_for(registry, kUser);
  const auto resolved = resolve_image(context, settings, request);
  INFO((resolved ? "" : describe(resolved.error())));
  REQUIRE(resolved);
  greedy = true;
  const auto pulling = pull_image(context, *cache, settings, request, *resolved);
  REQUIRE(pulling);
  CHECK(pulling->layers[0]->wait_complete({}).error().code == ErrorCode::registry_unauthorized);
  REQUIRE(elsewhere.requests().size() >= 2);
  CHECK(elsewhere.count("GET", "/token") == 0);
  for (const auto& seen : elsewhere.requests()) CHECK(seen.header("authorization").empty());
}

TEST_CASE_METHOD(Puller, "redirects in circles or to other schemes end", "[hostile]") {
  const auto target =
      GENERATE(as<std::string>{}, "/v2/again", "file:///etc/passwd", "gopher://127.0.0.1/", "", "http://[bad");
  ScriptedServer registry([&](const Request&) -> Reply { return {.status = 302, .headers = {{"Location", target}}}; });
  const auto resolved = resolve_image(context, settings, request_for(registry));
  REQUIRE_FALSE(resolved);
  CHECK(resolved.error().code == ErrorCode::registry_failed);
  CHECK(registry.requests().size() <= 7);
}

TEST_CASE_METHOD(Puller, "a manifest that is none, or without end, is refused", "[hostile]") {
  const bool endless = GENERATE(false, true);
  ScriptedServer registry(
      [&](const Request&) -> Reply { return {.body = endless ? std::string(50 << 20, '{') : "<html>hello</html>"}; });
  const auto resolved = resolve_image(context, settings, request_for(registry));
  REQUIRE_FALSE(resolved);
  CHECK(resolved.error().code == ErrorCode::manifest_invalid);
  CHECK_THAT(resolved.error().reason, Catch::Contains(endless ? "larger than 4194304 bytes" : "no JSON"));
}

TEST_CASE_METHOD(Puller, "a manifest of another digest than asked for is refused", "[hostile]") {
  const auto image = make_image({"one"}), other = make_image({"two"});
  ScriptedServer registry([&](const Request& request) { return serve_image(image, request); });
  const auto resolved = resolve(registry.host() + "/app@" + other.digest);
  REQUIRE_FALSE(resolved);
  CHECK(resolved.error().code == ErrorCode::digest_mismatch);
  CHECK_THAT(resolved.error().reason, Catch::Contains(other.digest) && Catch::Contains(image.digest));
}

TEST_CASE_METHOD(Puller, "as many layers as diff_ids are asked for", "[hostile]") {
  auto image = make_image({"one", "two"});
  const auto shorter = make_image({"one"});
  image.manifest.replace(image.manifest.find(image.config_digest()), 71, shorter.config_digest());
  const auto size = "\"size\":" + std::to_string(image.config.size());
  image.manifest.replace(image.manifest.find(size), size.size(), "\"size\":" + std::to_string(shorter.config.size()));
  image.config = shorter.config;
  image.digest = digest_of(image.manifest);
  ScriptedServer registry([&](const Request& request) { return serve_image(image, request); });
  const auto resolved = resolve_image(context, settings, request_for(registry));
  REQUIRE_FALSE(resolved);
  CHECK(resolved.error().code == ErrorCode::manifest_invalid);
  CHECK_THAT(resolved.error().reason, Catch::Contains("2 layers") && Catch::Contains("1 diff_ids"));
}

TEST_CASE_METHOD(Puller, "a registry that is down is unreachable, and worth another try", "[hostile]") {
  const auto resolved = resolve("127.0.0.1:" + std::to_string(free_port()) + "/app");
  REQUIRE_FALSE(resolved);
  CHECK(resolved.error().code == ErrorCode::registry_unreachable);
  CHECK(resolved.error().transient);
  CHECK_FALSE(resolved.error().mend.empty());
}

TEST_CASE_METHOD(Puller, "a registry that says nothing is left when cancelled, and at the deadline", "[hostile]") {
  const bool by_stop = GENERATE(false, true);
  ScriptedServer registry([](const Request&) -> Reply { return {.body = "x", .cut_after = 0, .stall = true}; });
  std::stop_source source;
  context.stop = source.get_token();
  if (!by_stop) context.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  std::thread canceller([&] {
    registry.wait_for_stalled(1);
    if (by_stop) source.request_stop();
  });
  const auto resolved = resolve_image(context, settings, request_for(registry));
  canceller.join();
  REQUIRE_FALSE(resolved);
  CHECK(resolved.error().code == (by_stop ? ErrorCode::cancelled : ErrorCode::deadline_exceeded));
}

TEST_CASE_METHOD(Puller, "a digest is asked for by one HEAD", "[hostile]") {
  const auto image = make_image({"one"});
  ScriptedServer registry([&](const Request& request) { return serve_image(image, request); });
  CHECK(*head_digest(context, settings, request_for(registry)) == image.digest);
  CHECK(registry.requests().size() == 1);
  CHECK(registry.count("HEAD", "/v2/team/app/manifests/1") == 1);
}

TEST_CASE_METHOD(Puller, "other than loopback is spoken to without TLS only when configured", "[hostile]") {
  // 0.0.0.0 leads to this machine too, but does not look like it.
  const auto image = make_image({"one"});
  ScriptedServer registry([&](const Request& request) { return serve_image(image, request); });
  const auto other = "0.0.0.0:" + std::to_string(registry.port());
  const auto resolved = resolve(other + "/app");
  REQUIRE_FALSE(resolved);
  CHECK(resolved.error().code == ErrorCode::registry_unreachable);
  settings.insecure_registries = {other};
  CHECK(resolve(other + "/app"));
}

}  // namespace
}  // namespace nanobox
