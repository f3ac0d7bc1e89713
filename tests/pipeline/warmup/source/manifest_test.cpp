#include "pipeline/warmup/source/manifest.hpp"

#include <catch2/catch.hpp>

#include "test_image.hpp"

namespace nanobox {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'b');

std::string manifest_with(const std::string& layer_type, const std::string& more = "") {
  return R"({"schemaVersion":2,"config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":")" +
         kDigest + R"(","size":7},"layers":[{"mediaType":")" + layer_type + R"(","size":5,"digest":")" + kDigest + '"' +
         more + "}]}";
}

ErrorCode code_of(const std::string& json, const std::string& type = "") {
  const auto parsed = parse_manifest(json, type, "image");
  return parsed ? ErrorCode::none_reserved : parsed.error().code;
}

TEST_CASE("manifests of docker and OCI are read", "[manifest]") {
  const auto image = make_image({"one", "two"});
  const auto parsed = parse_manifest(image.manifest, "application/vnd.oci.image.manifest.v1+json", "image");
  REQUIRE(parsed);
  const auto& manifest = std::get<ImageManifest>(*parsed);
  REQUIRE(manifest.layers.size() == 2);
  CHECK(manifest.layers[1].digest == image.layer_digests()[1]);
  CHECK(manifest.layers[1].size == 3);
  CHECK(manifest.config.digest == image.config_digest());
  CHECK(code_of(manifest_with("application/vnd.docker.image.rootfs.diff.tar.gzip"),
                "application/vnd.docker.distribution.manifest.v2+json") == ErrorCode::none_reserved);
}

TEST_CASE("a manifest that is none is refused with the reason", "[manifest]") {
  const auto [json, reason] = GENERATE(table<std::string, std::string>({
      {"", "no JSON"},
      {"<html>", "no JSON"},
      {"[]", "no JSON object"},
      {"{}", "schemaVersion"},
      {R"({"schemaVersion":1,"fsLayers":[]})", "schema 1"},
      {R"({"schemaVersion":2})", "no 'config'"},
      {R"({"schemaVersion":2,"schemaVersion":2})", "twice"},
      {R"({"schemaVersion":2,"layers":[],"manifests":[]})", "both"},
      {R"({"schemaVersion":2,"mediaType":"text/plain"})", "text/plain"},
      {R"({"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","size":1,"digest":")" +
           kDigest + R"("},"layers":[]})",
       "no container image"},
      {R"({"schemaVersion":2,"config":[],"layers":[]})", "no object"},
      {R"({"schemaVersion":2,"config":{"mediaType":5}})", "no string"},
      {R"({"schemaVersion":2,"config":{"mediaType":"a","size":1,"digest":"sha512:00"}})", "sha256"},
      {R"({"schemaVersion":2,"config":{"mediaType":"a","size":-1,"digest":")" + kDigest + R"("}})", "no size"},
      {R"({"schemaVersion":2,"config":{"mediaType":"a","size":18446744073709551615,"digest":")" + kDigest + R"("}})",
       "1 TiB"},
      {R"({"schemaVersion":2,"manifests":{}})", "no array"},
      {"{\"schemaVersion\":2,\"mediaType\":\"\xff\"}", "no JSON"},
      {std::string(100'000, '['), "no JSON"},
  }));
  INFO(json.substr(0, 200));
  const auto parsed = parse_manifest(json, "", "image");
  REQUIRE_FALSE(parsed);
  CHECK(parsed.error().code == ErrorCode::manifest_invalid);
  CHECK(parsed.error().subject == "image");
  CHECK_THAT(parsed.error().reason, Catch::Contains(reason));
}

TEST_CASE("a document of another type than announced is refused", "[manifest]") {
  const auto image = make_image({"one"});
  CHECK(code_of(image.manifest, "application/vnd.oci.image.index.v1+json") == ErrorCode::manifest_invalid);
}

TEST_CASE("layers that cannot be unpacked are refused by name", "[manifest]") {
  CHECK(code_of(manifest_with("application/vnd.oci.image.layer.v1.tar+zstd")) == ErrorCode::none_reserved);
  CHECK(code_of(manifest_with("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")) ==
        ErrorCode::layer_unsupported);
  CHECK(code_of(manifest_with("")) == ErrorCode::layer_unsupported);
  const std::string foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
  CHECK(code_of(manifest_with(foreign)) == ErrorCode::layer_unsupported);
  CHECK(code_of(manifest_with(foreign, R"(,"urls":["https://example.com/l"])")) == ErrorCode::none_reserved);
}

TEST_CASE("the configuration gives environment, command and diff_ids", "[manifest]") {
  const auto image = make_image({"one"}, {.os = "linux", .architecture = "arm64", .variant = "v8"});
  const auto config = parse_image_config(image.config, "image");
  REQUIRE(config);
  CHECK(config->env == std::vector<std::string>{"PATH=/bin", "A=b"});
  CHECK(config->entrypoint == std::vector<std::string>{"/bin/sh"});
  CHECK(config->cmd.empty());
  CHECK(config->working_dir == "/srv");
  CHECK(config->user == "web");
  CHECK(config->platform == Platform{"linux", "arm64", "v8"});
  CHECK(config->diff_ids == image.layer_digests());
}

TEST_CASE("a configuration that cannot be trusted is refused", "[manifest]") {
  const auto json =
      GENERATE(as<std::string>{}, "{}", R"({"rootfs":{}})", R"({"rootfs":{"type":"layers","diff_ids":["x"]}})",
               R"({"config":[],"rootfs":{"type":"layers"}})", R"({"config":{"Env":[1]},"rootfs":{"type":"layers"}})",
               R"({"config":{"Env":["A=\u0000"]},"rootfs":{"type":"layers"}})");
  const auto config = parse_image_config(json, "image");
  REQUIRE_FALSE(config);
  CHECK(config.error().code == ErrorCode::manifest_invalid);
}

ImageIndex index_of(const std::vector<std::string>& platforms) {
  ImageIndex index;
  for (const auto& text : platforms) {
    IndexEntry entry;
    entry.descriptor.digest = text;
    if (!text.empty()) entry.platform = *parse_platform(text);
    index.entries.push_back(entry);
  }
  return index;
}

TEST_CASE("the platform asked for is chosen", "[manifest]") {
  const auto choice = [](const std::vector<std::string>& there, const std::string& wanted) {
    const auto entry = choose_platform(index_of(there), *parse_platform(wanted), "image");
    return entry ? entry->descriptor.digest : "none";
  };
  CHECK(choice({"linux/arm64", "linux/amd64"}, "linux/amd64") == "linux/amd64");
  CHECK(choice({"linux/amd64/v3", "linux/amd64"}, "linux/amd64") == "linux/amd64");
  CHECK(choice({"linux/arm/v6", "linux/arm/v7"}, "linux/arm") == "linux/arm/v7");
  CHECK(choice({"linux/arm/v6", "linux/arm/v7"}, "linux/arm/v6") == "linux/arm/v6");
  CHECK(choice({"linux/arm64/v8"}, "linux/aarch64") == "linux/arm64/v8");
  CHECK(choice({"windows/amd64", ""}, "linux/amd64") == "");
  CHECK(choice({"unknown/unknown", "linux/amd64"}, "linux/amd64") == "linux/amd64");
  CHECK(choice({"linux/arm64", "windows/amd64"}, "linux/amd64") == "none");
}

TEST_CASE("where no platform fits the error lists what there is", "[manifest]") {
  const auto entry = choose_platform(index_of({"linux/arm64", "windows/amd64", "unknown/unknown"}), {}, "image");
  REQUIRE_FALSE(entry);
  CHECK(entry.error().code == ErrorCode::platform_not_found);
  CHECK(entry.error().reason == "there is linux/arm64, windows/amd64");
  CHECK_THAT(entry.error().attempted, Catch::Contains("linux/amd64"));
}

TEST_CASE("platforms are read strictly", "[manifest]") {
  CHECK(parse_platform("linux/x86_64")->architecture == "amd64");
  CHECK_FALSE(parse_platform("linux"));
  CHECK_FALSE(parse_platform("linux/"));
  CHECK_FALSE(parse_platform("linux/amd64/v1/x"));
  CHECK_FALSE(parse_platform("Linux/AMD64"));
}

}  // namespace
}  // namespace nanobox
