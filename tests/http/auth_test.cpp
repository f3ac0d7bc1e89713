#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "edge_fixture.hpp"
#include "http/auth.hpp"

namespace nanobox::test {
namespace {

using http::Authenticator;
using http::AuthRules;
using http::Request;

class TempFolder {
public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "nanobox-http-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
};

Request from(bool loopback, http::Headers headers) {
  Request request;
  request.peer_is_loopback = loopback;
  request.headers = std::move(headers);
  return request;
}

ErrorCode refusal(const Authenticator& auth, const Request& request) {
  const auto identity = auth.identify(request);
  return identity ? ErrorCode::none_reserved : identity.error().code;
}

}  // namespace

TEST_CASE("without keys a local program needs none, a web page or a rebound name does", "[http][auth]") {
  const Authenticator auth(AuthRules{.admin_key = "0123456789abcdef0123"});
  for (const std::string host : {"localhost", "localhost:8080", "127.0.0.1:80", "[::1]:8080", "LOCALHOST"}) {
    const auto identity = auth.identify(from(true, {{"host", host}}));
    REQUIRE(identity);
    CHECK(identity->owner == "admin");
    CHECK(identity->is_admin);
  }
  for (const std::string host : {"evil.example", "localhost.evil.example:80", "127.0.0.2", "", "[::1", "10.0.0.1"})
    CHECK(refusal(auth, from(true, {{"host", host}})) == ErrorCode::forbidden);
  CHECK(refusal(auth, from(true, {{"host", "localhost"}, {"origin", "http://localhost"}})) == ErrorCode::forbidden);
  CHECK(refusal(auth, from(false, {{"host", "localhost"}})) == ErrorCode::unauthorized);
  for (const std::string proxy : {"x-forwarded-for", "x-forwarded-proto", "forwarded"})
    CHECK(refusal(auth, from(true, {{"host", "localhost"}, {proxy, "1.2.3.4"}})) == ErrorCode::unauthorized);
  CHECK(auth.identify(
      from(false, {{"host", "x"}, {"origin", "http://x"}, {"authorization", "Bearer 0123456789abcdef0123"}})));
  CHECK(auth.identify(from(false, {{"authorization", "bearer   0123456789abcdef0123 "}})));
  for (const std::string wrong : {"Bearer wrong", "Bearer ", "Basic 0123456789abcdef0123", "0123456789abcdef0123", ""})
    CHECK(refusal(auth, from(true, {{"host", "localhost"}, {"authorization", wrong}})) == ErrorCode::unauthorized);
}

TEST_CASE("with keys everybody needs one, and its name is the owner", "[http][auth]") {
  AuthRules rules;
  for (const char* text : {"team-a:secret-a", "admin:secret-b", "bare-secret", "Has:Colon"})
    rules.keys.push_back(http::parse_key(text));
  const Authenticator auth(rules);
  CHECK(refusal(auth, from(true, {{"host", "localhost"}})) == ErrorCode::unauthorized);
  const auto owner = [&](const std::string& key) {
    return auth.identify(from(true, {{"authorization", "Bearer " + key}}));
  };
  CHECK(owner("secret-a")->owner == "team-a");
  CHECK_FALSE(owner("secret-a")->is_admin);
  CHECK(owner("team-a:secret-a")->owner == "team-a");
  CHECK(owner("secret-b")->is_admin);
  CHECK(owner("bare-secret")->owner.starts_with("key-"));
  CHECK(owner("Has:Colon")->owner.starts_with("key-"));
  CHECK_FALSE(owner("secret"));
}

TEST_CASE("where no key is named admin the first one is", "[http][auth]") {
  const Authenticator auth(AuthRules{.keys = {{"a", "one"}, {"b", "two"}}});
  CHECK(auth.identify(from(false, {{"authorization", "Bearer one"}}))->is_admin);
  CHECK_FALSE(auth.identify(from(false, {{"authorization", "Bearer two"}}))->is_admin);
}

TEST_CASE("keys can be demanded on loopback and turned off altogether", "[http][auth]") {
  const Authenticator strict(AuthRules{.admin_key = "0123456789abcdef", .require_on_loopback = true});
  CHECK(refusal(strict, from(true, {{"host", "localhost"}})) == ErrorCode::unauthorized);
  const Authenticator open(AuthRules{.allow_unauthenticated = true});
  CHECK(open.identify(from(false, {{"host", "box.example"}})));
  CHECK(open.identify(from(false, {{"host", "box.example"}, {"authorization", "Bearer left-over"}})));
  CHECK(refusal(open, from(false, {{"host", "box.example"}, {"origin", "http://evil.example"}})) ==
        ErrorCode::forbidden);
}

TEST_CASE("without a key only what the user typed into a browser is served", "[http][auth]") {
  const Authenticator auth(AuthRules{});
  CHECK(auth.identify(from(true, {{"host", "localhost"}, {"sec-fetch-site", "none"}})));
  for (const std::string site : {"same-origin", "same-site", "cross-site"})
    CHECK(refusal(auth, from(true, {{"host", "localhost"}, {"sec-fetch-site", site}})) == ErrorCode::forbidden);
}

TEST_CASE("behind a forwarded port pages of the same origin and foreign logins are let through", "[http][auth]") {
  const Authenticator auth(AuthRules{});
  const auto forwarded = [&](http::Headers headers) {
    headers.emplace_back("host", "localhost:8080");
    return auth.identify(from(true, std::move(headers)), true).has_value();
  };
  CHECK(forwarded({{"origin", "http://localhost:8080"}, {"sec-fetch-site", "same-origin"}}));
  CHECK(forwarded({{"authorization", "Basic dXNlcjpwYXNz"}}));
  CHECK_FALSE(forwarded({{"origin", "http://evil.example"}, {"sec-fetch-site", "cross-site"}}));
  CHECK_FALSE(forwarded({{"sec-fetch-site", "cross-site"}}));
  CHECK_FALSE(forwarded({{"origin", "null"}}));
  const Authenticator keyed(AuthRules{.keys = {{"team", "secret"}}});
  CHECK_FALSE(keyed.identify(from(true, {{"authorization", "Basic dXNlcjpwYXNz"}}), true));
}

TEST_CASE("a key may have a header of its own, and none goes further than the edge", "[http][auth]") {
  const Authenticator auth(AuthRules{.keys = {{"team", "secret"}}});
  auto request = from(false, {{"x-nanobox-key", "secret"}, {"authorization", "Basic dXNlcjpwYXNz"}});
  const auto identity = auth.identify(request, true);
  REQUIRE(identity);
  CHECK(identity->owner == "team");
  CHECK(identity->has_key);
  CHECK(refusal(auth, from(false, {{"x-nanobox-key", "wrong"}, {"authorization", "Bearer secret"}})) ==
        ErrorCode::unauthorized);
  auth.remove_keys(request);
  CHECK(request.headers == http::Headers{{"authorization", "Basic dXNlcjpwYXNz"}});
  request = from(false, {{"a", "b"}, {"authorization", "Bearer secret"}});
  auth.remove_keys(request);
  CHECK(request.headers == http::Headers{{"a", "b"}});
}

TEST_CASE("an admin key is made once, for its owner's eyes only", "[http][auth]") {
  TempFolder folder;
  const auto file = folder.path() / "admin.key";
  CHECK(http::make_auth_rules({}, false, false, {"127.0.0.1", 1}, folder.path())->admin_key.empty());
  CHECK_FALSE(std::filesystem::exists(file));
  CHECK(http::make_auth_rules({"k"}, false, false, {"0.0.0.0", 1}, folder.path())->admin_key.empty());
  CHECK_FALSE(std::filesystem::exists(file));
  const auto old_mask = ::umask(0);
  const auto first = http::make_auth_rules({}, false, false, {"0.0.0.0", 1}, folder.path());
  ::umask(old_mask);
  REQUIRE(first);
  CHECK(first->admin_key.size() == 64);
  struct stat state {};
  REQUIRE(::stat(file.c_str(), &state) == 0);
  CHECK((state.st_mode & 0777) == 0600);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  CHECK(http::make_auth_rules({}, false, false, {"0.0.0.0", 1}, folder.path())->admin_key == first->admin_key);
  CHECK(http::make_auth_rules({}, false, false, {"127.0.0.1", 1}, folder.path())->admin_key == first->admin_key);
  REQUIRE(::chmod(file.c_str(), 0640) == 0);
  const auto open = http::make_auth_rules({}, false, false, {"0.0.0.0", 1}, folder.path());
  REQUIRE_FALSE(open);
  CHECK(open.error().code == ErrorCode::file_unreadable);
  CHECK(open.error().subject == file.string());
  CHECK(open.error().mend.find("chmod 600") != std::string::npos);
  REQUIRE(::chmod(file.c_str(), 0600) == 0);
  std::ofstream(file) << "\n";
  CHECK(http::make_auth_rules({}, true, false, {"127.0.0.1", 1}, folder.path()).error().code ==
        ErrorCode::file_unreadable);
  CHECK(http::make_auth_rules({""}, false, false, {"127.0.0.1", 1}, folder.path()).error().code ==
        ErrorCode::config_invalid);
}

TEST_CASE("over the wire a missing key is 401 before the body is read, health needs none", "[http][auth]") {
  http::Router router;
  router.add(http::Method::post, "/api/x",
             [](Request in, http::Responder out) { out.send(200, "\"" + in.owner + "\""); });
  router.add(http::Method::get, "/healthz", [](Request, http::Responder out) { out.send(200, "{}"); },
             {.needs_key = false});
  Edge edge(std::move(router), {.auth = std::make_shared<Authenticator>(AuthRules{.keys = {{"team", "secret"}}})});
  Client client(edge.port());
  client.send("POST /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\n\r\n");
  const auto answer = client.read();
  REQUIRE(answer);
  CHECK(answer->status == 401);
  CHECK(answer->headers.at("www-authenticate") == "Bearer");
  CHECK(client.closes());
  Client other(edge.port());
  other.get("/api/unknown");
  CHECK(other.read()->status == 401);
  other.get("/healthz");
  CHECK(other.read()->status == 200);
  other.post("/api/x", "{}", "Authorization: Bearer secret\r\n");
  CHECK(other.read()->body == "\"team\"");
}

}  // namespace nanobox::test
