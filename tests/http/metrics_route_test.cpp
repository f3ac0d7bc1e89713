#include "http/resources/metrics.hpp"

#include "edge_fixture.hpp"
#include "http/auth.hpp"

namespace nanobox::test {

namespace {

/// A server with one route of its own, that counts.
class Scraped {
protected:
  explicit Scraped(bool enabled = true) {
    if (enabled) metrics = std::make_shared<Metrics>("1");
    http::Router router;
    router.add(http::Method::get, "/api/v1/things/{id}",
               [](const http::Request&, http::Responder responder) { responder.send(200, "{}"); });
    http::add_metrics_route(router, metrics);
    http::AuthRules rules;
    rules.keys = {{.name = "admin", .key = "aaaa"}, {.name = "ann", .key = "bbbb"}, {.name = "metrics", .key = "cccc"}};
    edge.emplace(std::move(router), http::ServerSettings{.auth = std::make_shared<http::Authenticator>(rules),
                                                         .served = enabled ? http::counts_requests(metrics) : nullptr});
  }
  std::string get(const std::string& path, const std::string& key = "aaaa", int status = 200) {
    Client client(edge->port());
    client.get(path, "Authorization: Bearer " + key + "\r\n");
    const auto answer = client.read();
    REQUIRE(answer);
    CHECK(answer->status == status);
    return answer->body;
  }

  std::shared_ptr<Metrics> metrics;
  std::optional<Edge> edge;
};

class NotScraped : public Scraped {
protected:
  NotScraped() : Scraped(false) {}
};

}  // namespace

TEST_CASE_METHOD(Scraped, "metrics are the admin's and the key's that is named so", "[http][metrics]") {
  CHECK(get("/metrics", "aaaa").find("nanobox_build_info") != std::string::npos);
  CHECK(get("/metrics", "cccc").find("nanobox_build_info") != std::string::npos);
  CHECK(get("/metrics", "bbbb", 403).find("forbidden") != std::string::npos);
  get("/metrics", "dddd", 401);
}

TEST_CASE_METHOD(Scraped, "requests are counted by their route's pattern, whatever their path", "[http][metrics]") {
  for (int i = 0; i < 300; ++i) get("/api/v1/things/" + std::to_string(i));
  for (int i = 0; i < 300; ++i) get("/none/" + std::to_string(i), "aaaa", 404);
  const auto text = get("/metrics");
  CHECK(text.find(R"(nanobox_http_requests_total{method="GET",route="/api/v1/things/{id}",status="200"} 300)") !=
        std::string::npos);
  CHECK(text.find(R"(nanobox_http_requests_total{method="GET",route="none",status="404"} 300)") != std::string::npos);
  CHECK(text.find("/none/") == std::string::npos);
}

TEST_CASE_METHOD(NotScraped, "where nothing is measured, the problem says how to", "[http][metrics]") {
  CHECK(get("/metrics", "aaaa", 404).find("[metrics] enabled") != std::string::npos);
}

}  // namespace nanobox::test
