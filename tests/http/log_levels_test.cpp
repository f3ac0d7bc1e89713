#include "http/resources/log_levels.hpp"

#include "config/log_levels.hpp"
#include "edge_fixture.hpp"
#include "http/auth.hpp"

namespace nanobox::test {

namespace {

/// A server that serves its log's levels; those are as before after it.
class Logging {
protected:
  Logging() {
    set_log_levels({.level = LogLevel::info, .own = {{LogComponent::vm, LogLevel::error}}});
    http::Router router;
    http::add_log_level_routes(router);
    http::AuthRules rules;
    rules.keys = {{.name = "admin", .key = "aaaa"}, {.name = "ann", .key = "bbbb"}};
    edge.emplace(std::move(router), http::ServerSettings{.auth = std::make_shared<http::Authenticator>(rules)});
  }
  ~Logging() { set_log_levels({}); }

  std::string get(int status = 200, const std::string& key = "aaaa") {
    Client client(edge->port());
    client.get("/api/v1/log", "Authorization: Bearer " + key + "\r\n");
    return body_of(client, status);
  }
  std::string put(const std::string& body, int status = 200, const std::string& key = "aaaa") {
    Client client(edge->port());
    client.send("PUT /api/v1/log HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + key +
                "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return body_of(client, status);
  }

private:
  static std::string body_of(Client& client, int status) {
    const auto answer = client.read();
    REQUIRE(answer);
    CHECK(answer->status == status);
    return answer->body;
  }
  std::optional<Edge> edge;
};

const std::string kComponents =
    R"("components":["daemon","http","warmup","sandbox","vm","pool","network","node","cluster","events"]})";

}  // namespace

TEST_CASE_METHOD(Logging, "the log's levels are shown: one of all, and those of components that have another",
                 "[http][log]") {
  CHECK(get() == R"({"level":"info","levels":{"vm":"error"},)" + kComponents);
}

TEST_CASE_METHOD(Logging, "the log's levels change at once, and what is not said stays", "[http][log]") {
  CHECK(put(R"({"levels":{"http":"debug"}})") == R"({"level":"info","levels":{"http":"debug"},)" + kComponents);
  CHECK(logs(LogComponent::http, LogLevel::debug));
  CHECK(logs(LogComponent::vm, LogLevel::info));
  CHECK(put(R"({"level":"warn"})") == R"({"level":"warn","levels":{"http":"debug"},)" + kComponents);
  CHECK_FALSE(logs(LogComponent::vm, LogLevel::info));
  CHECK(put(R"({"level":"off","levels":{}})") == R"({"level":"off","levels":{},)" + kComponents);
  CHECK_FALSE(logs(LogComponent::http, LogLevel::error));
  CHECK(put("{}") == get());
}

TEST_CASE_METHOD(Logging, "a level or component that there is not is refused, and nothing changes", "[http][log]") {
  const auto before = get();
  CHECK(put(R"({"level":"loud"})", 422).find("\"/level\"") != std::string::npos);
  CHECK(put(R"({"level":"warn","levels":{"htp":"debug"}})", 400).find("\"/levels/htp\"") != std::string::npos);
  CHECK(put(R"({"levels":{"http":"critical"}})", 422).find("\"/levels/http\"") != std::string::npos);
  CHECK(put(R"({"levels":"debug"})", 400).find("wrong_type") != std::string::npos);
  CHECK(get() == before);
}

TEST_CASE_METHOD(Logging, "the log's levels are the administrator's", "[http][log]") {
  CHECK(get(403, "bbbb").find("forbidden") != std::string::npos);
  CHECK(put(R"({"level":"off"})", 403, "bbbb").find("forbidden") != std::string::npos);
  CHECK(logs(LogComponent::http, LogLevel::info));
}

}  // namespace nanobox::test
