#include "pipeline/warmup/source/credentials.hpp"

#include <catch2/catch.hpp>

#include "pipeline/warmup/source/registry_auth.hpp"
#include "temp_folder.hpp"
#include "test_image.hpp"

namespace nanobox {
namespace {

TEST_CASE("login challenges are read as registries write them", "[credentials]") {
  const auto bearer = parse_challenge(
      R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push")");
  REQUIRE(bearer);
  CHECK(bearer->scheme == AuthChallenge::Scheme::bearer);
  CHECK(bearer->scope == "repository:a/b:pull,push");
  CHECK(token_url(*bearer, "x") ==
        "https://auth.docker.io/token?service=registry.docker.io&scope=repository:a/b:pull,push");
  const auto basic = parse_challenge(R"(basic realm="a \"b\" c")");
  REQUIRE(basic);
  CHECK(basic->scheme == AuthChallenge::Scheme::basic);
  CHECK(basic->realm == R"(a "b" c)");
  const auto both = parse_challenge(R"(Negotiate, Basic realm="x", Bearer realm="https://t", service=s)");
  REQUIRE(both);
  CHECK(both->scheme == AuthChallenge::Scheme::bearer);
  CHECK(both->service == "s");
  CHECK(token_url({AuthChallenge::Scheme::bearer, "https://t?a=b", "my svc&", ""}, "repository:r:pull") ==
        "https://t?a=b&service=my%20svc%26&scope=repository:r:pull");
  for (const char* junk :
       {"", ",", "=", "Bearer", "Bearer realm=", "Bearer realm=\"x", "Digest realm=\"x\"", "\"\"", "Bearer ="})
    CHECK_FALSE(parse_challenge(junk));
}

TEST_CASE("tokens are taken from either field and checked", "[credentials]") {
  CHECK(*parse_token(R"({"token":"abc"})") == "abc");
  CHECK(*parse_token(R"({"access_token":"def"})") == "def");
  for (const char* junk : {"", "[]", "{}", R"({"token":""})", R"({"token":1})", R"({"token":"a\r\nX-Evil: 1"})"})
    CHECK_FALSE(parse_token(junk));
}

TEST_CASE("docker's configuration is understood in all its spellings", "[credentials]") {
  const std::string json = R"({"auths":{"https://index.docker.io/v1/":{"auth":")" + encode_base64("me:pa:ss") +
                           R"("},"ghcr.io":{"username":"u","password":"p"},"https://Host:5000/v2/":{"auth":")" +
                           encode_base64("a:b") + R"("},"empty.io":{}},"credsStore":"desktop"})";
  const auto hub = parse_docker_config(json, "docker.io", "f");
  REQUIRE(hub);
  REQUIRE(*hub);
  CHECK((*hub)->username == "me");
  CHECK((*hub)->password == "pa:ss");
  CHECK((*parse_docker_config(json, "ghcr.io", "f"))->password == "p");
  CHECK((*parse_docker_config(json, "host:5000", "f"))->username == "a");
  CHECK_FALSE(*parse_docker_config(json, "empty.io", "f"));
  CHECK_FALSE(*parse_docker_config(json, "other.io", "f"));
  CHECK_FALSE(*parse_docker_config("{}", "other.io", "f"));
}

TEST_CASE("an error about docker's configuration names the file and not what is in it", "[credentials]") {
  const auto found = parse_docker_config(R"({"auths":{"r.io":{"auth":"c2VjcmV0"}}})", "r.io", "/home/me/config.json");
  REQUIRE_FALSE(found);
  CHECK(found.error().code == ErrorCode::config_invalid);
  CHECK(found.error().subject == "/home/me/config.json");
  CHECK_THAT(describe(found.error()), !Catch::Contains("secret") && !Catch::Contains("c2VjcmV0"));
}

TEST_CASE("the request's credentials win over the settings', and those over docker's", "[credentials]") {
  const TempFolder folder;
  write_file(folder / "config.json", R"({"auths":{"r.io":{"username":"docker","password":"x"}}})");
  ImageSourceSettings settings;
  settings.docker_config = folder / "config.json";
  CHECK((*find_credentials(settings, std::nullopt, "r.io"))->username == "docker");
  settings.credentials.push_back({.registry = "r.io", .credentials = {"settings", "x"}});
  CHECK((*find_credentials(settings, std::nullopt, "r.io"))->username == "settings");
  CHECK((*find_credentials(settings, Credentials{"request", "x"}, "r.io"))->username == "request");
  CHECK_FALSE(*find_credentials(settings, std::nullopt, "other.io"));
  settings.docker_config = folder / "missing.json";
  CHECK_FALSE(*find_credentials(settings, std::nullopt, "other.io"));
}

TEST_CASE("base64 comes back as it went", "[credentials]") {
  for (const std::string text : {"", "a", "ab", "abc", "abcd"}) CHECK(decode_base64(encode_base64(text)) == text);
  CHECK_FALSE(decode_base64("a"));
  CHECK_FALSE(decode_base64("????"));
}

}  // namespace
}  // namespace nanobox
