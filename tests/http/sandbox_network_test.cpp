#include "resources_fixture.hpp"

namespace nanobox::test {

TEST_CASE_METHOD(Resources, "a running sandbox gets another network", "[http][resources]") {
  const auto changed = put("/sandboxes/sb-1/network",
                           R"({"mode":"internet","rate_limit_mbps":10,"allow_domains":["*.example.com"],)"
                           R"("allow_cidrs":["203.0.113.0/24","198.51.100.7"],"deny_cidrs":["203.0.113.9/32"]})");
  CHECK(changed.status == 200);
  CHECK(changed.at("/network/mode") == "internet");
  CHECK(changed.at("/network/rate_limit_mbps") == "10");
  CHECK(changed.at("/network/allow_domains/0") == "*.example.com");
  CHECK(changed.at("/network/allow_cidrs/1") == "198.51.100.7");
  CHECK(changed.at("/network/deny_cidrs/0") == "203.0.113.9/32");
  CHECK(stand_in->all_asked() == std::vector<std::string>{"network sb-1"});
}

TEST_CASE_METHOD(Resources, "a mode that is not named stays, the lists do not", "[http][resources]") {
  put("/sandboxes/sb-1/network", R"({"mode":"internet","allow_cidrs":["203.0.113.0/24"]})");
  const auto changed = put("/sandboxes/sb-1/network", "{}");
  CHECK(changed.status == 200);
  CHECK(changed.size_of("/network/allow_cidrs") == 0);
}

TEST_CASE_METHOD(Resources, "what a network cannot be is refused, field by field", "[http][resources]") {
  const auto pointer_of = [&](const std::string& body) {
    const auto refused = put("/sandboxes/sb-1/network", body);
    CHECK(refused.status == 422);
    return refused.at("/errors/0/pointer");
  };
  CHECK(pointer_of(R"({"mode":"bridged"})") == "/mode");
  CHECK(pointer_of(R"({"mode":"internal","allow_cidrs":["203.0.113.0/24"]})") == "/allow_cidrs");
  CHECK(pointer_of(R"({"mode":"isolated","allow_domains":["example.com"]})") == "/allow_domains");
  CHECK(pointer_of(R"({"mode":"internet","deny_cidrs":["203.0.113.1/24"]})") == "/deny_cidrs/0");
  CHECK(pointer_of(R"({"mode":"internet","allow_domains":["a..b"]})") == "/allow_domains/0");
  CHECK(pointer_of(R"({"mode":"internet","group":"g"})") == "/group");
  CHECK(pointer_of(R"({"mode":"internal","group":"a/b"})") == "/group");
  CHECK(pointer_of(R"({"mode":"internet","rate_limit_mbps":-1})") == "/rate_limit_mbps");
  CHECK(put("/sandboxes/sb-2/network", "{}").code() == "sandbox_not_found");
  CHECK(stand_in->all_asked().empty());
}

TEST_CASE_METHOD(Resources, "a new sandbox has the network that was asked for, else the default", "[http][resources]") {
  post("/sandboxes", R"({"template":"web","network":{"mode":"internal","group":"g"}})");
  REQUIRE(stand_in->boot);
  CHECK(stand_in->boot->sandbox.network.mode == "internal");
  CHECK(stand_in->boot->sandbox.network.group == "g");
  post("/sandboxes", R"({"template":"web"})");
  CHECK(stand_in->boot->sandbox.network == SandboxNetwork{});
  CHECK(post("/sandboxes", R"({"template":"web","network":{"allow_cidrs":["1.2.3.4"]}})").at("/errors/0/pointer") ==
        "/network/allow_cidrs");
}

}  // namespace nanobox::test
