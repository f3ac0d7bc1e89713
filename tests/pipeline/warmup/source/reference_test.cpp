#include "pipeline/warmup/source/reference.hpp"

#include <catch2/catch.hpp>

namespace nanobox {
namespace {

const std::string kHex(64, 'a');

std::string canonical(const std::string& text) {
  const auto reference = parse_reference(text);
  INFO(text << (reference ? "" : ": " + describe(reference.error())));
  REQUIRE(reference);
  return canonical_name(*reference);
}

TEST_CASE("image names are read as docker reads them", "[reference]") {
  const auto [written, full] = GENERATE(table<std::string, std::string>({
      {"node", "docker.io/library/node:latest"},
      {"node:22-alpine", "docker.io/library/node:22-alpine"},
      {"bitnami/redis", "docker.io/bitnami/redis:latest"},
      {"docker.io/node", "docker.io/library/node:latest"},
      {"index.docker.io/library/node:1", "docker.io/library/node:1"},
      {"ghcr.io/a/b/c:v1.2_3-x", "ghcr.io/a/b/c:v1.2_3-x"},
      {"localhost/app", "localhost/app:latest"},
      {"localhost:5000/app:1", "localhost:5000/app:1"},
      {"127.0.0.1:5000/app", "127.0.0.1:5000/app:latest"},
      {"[::1]:5000/app:2", "[::1]:5000/app:2"},
      {"REGISTRY.example/app", "registry.example/app:latest"},
      {"Registry/app", "Registry/app:latest"},
      {"Oci:5000/app", "Oci:5000/app:latest"},
      {"Docker-Archive:5000/app", "Docker-Archive:5000/app:latest"},
      {"a__b/c.d/e---f", "docker.io/a__b/c.d/e---f:latest"},
      {"oci:1.0", "docker.io/library/oci:1.0"},
      {"oci:/images/node", "oci:/images/node"},
      {"oci:/images/node:22", "oci:/images/node:22"},
      {"oci:/with:colon/node:22", "oci:/with:colon/node:22"},
      {"oci:/with space/node", "oci:/with space/node"},
      {"docker-archive:/a.tar", "docker-archive:/a.tar"},
      {"docker-archive:/a.tar:latest", "docker-archive:/a.tar:latest"},
  }));
  CHECK(canonical(written) == full);
}

TEST_CASE("a digest decides and its tag is kept", "[reference]") {
  CHECK(canonical("node@sha256:" + kHex) == "docker.io/library/node@sha256:" + kHex);
  const auto reference = parse_reference("host:1/app:v1@sha256:" + kHex);
  REQUIRE(reference);
  const auto& image = std::get<RegistryReference>(*reference);
  CHECK(image.registry == "host:1");
  CHECK(image.repository == "app");
  CHECK(image.tag == "v1");
  CHECK(image.digest == "sha256:" + kHex);
}

TEST_CASE("a wrong image name is refused with what is wrong and how to mend it", "[reference]") {
  const auto [written, reason, mend] = GENERATE(table<std::string, std::string, std::string>({
      {"", "empty", "node"},
      {"Node", "lower-case", "'node'"},
      {"a//b", "empty", "single slashes"},
      {"/a", "empty", "slashes"},
      {"a/", "empty", "slashes"},
      {"node:", "tag is empty", "128"},
      {"node:.x", "no tag", "128"},
      {"node:a:b", "no tag", ""},
      {"node@sha256:abc", "no digest", "64"},
      {"node@md5:abc", "no digest", "sha256"},
      {"no de", "space", "leave"},
      {"n\xc3\xb6"
       "de",
       "ASCII", "leave"},
      {"a..b", "no part", "joined"},
      {"a___b", "no part", "joined"},
      {"-a", "no part", ""},
      {"host:99999/app", "no registry", "65535"},
      {"ho..st/app", "no registry", "host"},
      {"host.example/", "no repository", "repository"},
      {"docker://node", "no known scheme", "'node'"},
      {"https://host/app", "no known scheme", "'host/app'"},
      {"ftp://host/app", "no known scheme", "oci:/folder"},
      {"oci-archive:/x.tar", "no known scheme", "oci:/folder"},
      {"oci:relative/dir", "not absolute", "oci:/folder"},
      {"oci:/", "names no file", "oci:/folder"},
      {"oci:/dir:", "no tag", "128"},
      {"docker-archive:x.tar", "not absolute", "docker-archive:/file.tar"},
  }));
  INFO(written);
  const auto reference = parse_reference(written);
  REQUIRE_FALSE(reference);
  CHECK(reference.error().code == ErrorCode::image_name_invalid);
  CHECK_THAT(reference.error().reason, Catch::Contains(reason));
  CHECK_THAT(reference.error().mend, Catch::Contains(mend));
}

TEST_CASE("bounds of image names hold", "[reference]") {
  CHECK(parse_reference("a:" + std::string(128, 't')));
  CHECK_FALSE(parse_reference("a:" + std::string(129, 't')));
  CHECK(parse_reference(std::string(247, 'n')));
  CHECK_FALSE(parse_reference(std::string(248, 'n')));
  CHECK_FALSE(parse_reference(kHex));
  CHECK_FALSE(parse_reference(std::string("oci:/a\0b", 8)));
  CHECK_FALSE(parse_reference("oci:/" + std::string(5000, 'x')));
}

TEST_CASE("an error about a name never carries control characters", "[reference]") {
  const auto reference = parse_reference("a\x1b[31m\nb");
  REQUIRE_FALSE(reference);
  for (const char c : describe(reference.error())) CHECK(static_cast<unsigned char>(c) >= 0x20);
}

}  // namespace
}  // namespace nanobox
