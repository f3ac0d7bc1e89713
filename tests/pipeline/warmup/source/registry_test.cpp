// Against Debian's docker-registry.
#include <catch2/catch.hpp>

#include "pipeline/warmup/source/reference.hpp"
#include "pulling.hpp"
#include "real_registry.hpp"

namespace nanobox {
namespace {

TEST_CASE_METHOD(Puller, "an image is pulled from a registry once and then taken from the cache", "[registry]") {
  const auto image = make_image(
      {noise(2'000'000, 1), noise(300'000, 2), noise(40, 3), noise(1'000'000, 4), noise(70'000, 5), noise(9, 6)});
  std::string name;
  {
    RealRegistry registry;
    registry.push(image, "library/app", "1.0");
    name = registry.host() + "/library/app:1.0";
    const auto pulling = pull(name);
    INFO((pulling ? "" : describe(pulling.error())));
    REQUIRE(pulling);
    CHECK(pulling->image.name == name);
    CHECK(pulling->image.digest == image.digest);
    CHECK(pulling->image.config.diff_ids == image.layer_digests());
    for (std::size_t i = 0; i < image.layers.size(); ++i) {
      CHECK(bytes_of(*pulling->layers[i]) == image.layers[i]);
      CHECK(read_whole(cache->path(image.layer_digests()[i])) == image.layers[i]);
    }
    CHECK(parts() == 0);
    CHECK(*head_digest(context, settings, {.image = name, .credentials = std::nullopt, .platform = {}}) ==
          image.digest);
    CHECK(resolve(registry.host() + "/library/app@" + image.digest)->digest == image.digest);
  }
  // The registry is gone: what is in the cache needs none.
  ResolvedImage resolved;
  for (std::size_t i = 0; i < image.layers.size(); ++i)
    resolved.layers.push_back({.media_type = image.layer_types[i],
                               .digest = image.layer_digests()[i],
                               .size = image.layers[i].size(),
                               .urls = {}});
  const auto again =
      pull_image(context, *cache, settings, {.image = name, .credentials = std::nullopt, .platform = {}}, resolved);
  REQUIRE(again);
  for (const auto& layer : again->layers) CHECK(layer->wait_complete({}));
}

TEST_CASE_METHOD(Puller, "the platform's image is chosen from a registry's index", "[registry]") {
  RealRegistry registry;
  const auto amd = make_image({"amd"}),
             arm = make_image({"arm"}, {.os = "linux", .architecture = "arm64", .variant = "v8"});
  registry.push(amd, "app", "amd");
  registry.push(arm, "app", "arm");
  registry.push_index(make_index({{&arm, {"linux", "arm64", "v8"}}, {&amd, {}}}), "app", "latest");
  const auto resolved = resolve(registry.host() + "/app");
  REQUIRE(resolved);
  CHECK(resolved->digest == amd.digest);
  CHECK(*head_digest(context, settings,
                     {.image = registry.host() + "/app", .credentials = std::nullopt, .platform = {}}) == amd.digest);
  const auto other = resolve_image(
      context, settings,
      {.image = registry.host() + "/app", .credentials = std::nullopt, .platform = {"linux", "arm64", ""}});
  REQUIRE(other);
  CHECK(other->digest == arm.digest);
  const auto none = resolve_image(
      context, settings,
      {.image = registry.host() + "/app", .credentials = std::nullopt, .platform = {"linux", "riscv64", ""}});
  REQUIRE_FALSE(none);
  CHECK(none.error().code == ErrorCode::platform_not_found);
  CHECK(none.error().reason == "there is linux/arm64/v8, linux/amd64");
}

TEST_CASE_METHOD(Puller, "what a registry does not hold is not found, and not tried again", "[registry]") {
  RealRegistry registry;
  registry.push(make_image({"one"}), "app", "latest");
  for (const auto& name : {registry.host() + "/nothing", registry.host() + "/app:wrong"}) {
    const auto resolved = resolve(name);
    REQUIRE_FALSE(resolved);
    CHECK(resolved.error().code == ErrorCode::image_not_found);
    CHECK_FALSE(resolved.error().transient);
    CHECK(resolved.error().subject == canonical_name(*parse_reference(name)));
  }
}

TEST_CASE_METHOD(Puller, "a registry that asks for a password gets it and keeps others out", "[registry]") {
  RealRegistry registry({.password = true});
  const auto image = make_image({noise(100'000, 1)});
  registry.push(image, "private/app", "latest");
  const auto name = registry.host() + "/private/app";
  const auto as = [&](std::optional<Credentials> credentials) {
    return resolve_image(context, settings, {.image = name, .credentials = std::move(credentials), .platform = {}});
  };
  const auto stranger = as(std::nullopt);
  REQUIRE_FALSE(stranger);
  CHECK(stranger.error().code == ErrorCode::registry_unauthorized);
  CHECK_FALSE(stranger.error().transient);
  const auto wrong = as(Credentials{"web", "Wr0ngWord"});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().code == ErrorCode::registry_unauthorized);
  CHECK_THAT(describe(wrong.error()), !Catch::Contains("Wr0ngWord"));
  REQUIRE(as(Credentials{"web", "s3cret"}));
  settings.credentials.push_back({.registry = registry.host(), .credentials = {"web", "s3cret"}});
  CHECK(pull(name));
}

TEST_CASE_METHOD(Puller, "a registry with a private CA is trusted by ca_file only", "[registry]") {
  RealRegistry registry({.tls = true});
  const auto image = make_image({noise(100'000, 1)});
  registry.push(image, "app", "latest");
  const auto distrusted = resolve(registry.host() + "/app");
  REQUIRE_FALSE(distrusted);
  INFO(describe(distrusted.error()));
  CHECK(distrusted.error().code == ErrorCode::registry_unreachable);
  settings.ca_file = registry.ca_file();
  const auto pulling = pull(registry.host() + "/app");
  INFO((pulling ? "" : describe(pulling.error())));
  REQUIRE(pulling);
  settings.ca_file.clear();
  settings.insecure_registries = {registry.host()};
  CHECK(resolve(registry.host() + "/app"));
}

TEST_CASE_METHOD(Puller, "a layer damaged in the registry is found out", "[registry]") {
  RealRegistry registry;
  const auto image = make_image({noise(100'000, 1)});
  registry.push(image, "app", "latest");
  const auto hex = image.layer_digests()[0].substr(7);
  const auto file = registry.data() / "docker/registry/v2/blobs/sha256" / hex.substr(0, 2) / hex / "data";
  write_file(file, noise(100'000, 2));
  const auto wrong = pull(registry.host() + "/app");
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().code == ErrorCode::digest_mismatch);
  CHECK(wrong.error().subject == image.layer_digests()[0]);
  CHECK_FALSE(wrong.error().transient);
  write_file(file, image.layers[0].substr(0, 60'000));
  CHECK(pull(registry.host() + "/app").error().code == ErrorCode::blob_truncated);
  CHECK(parts() == 0);
}

}  // namespace
}  // namespace nanobox
