#include <set>

#include "http/problem.hpp"
#include "http/resources/description.hpp"
#include "resources_fixture.hpp"

namespace nanobox::test {

namespace {

using Names = std::set<std::string>;

/// What docs/openapi.json says, as the server gives it.
rapidjson::Document description() {
  auto document = http::json::parse(http::api_description("1.2.3"));
  REQUIRE(document);
  return std::move(*document);
}

const rapidjson::Value& at(const rapidjson::Value& document, const std::string& pointer) {
  const auto* value = rapidjson::Pointer(pointer.c_str()).Get(document);
  INFO(pointer);
  REQUIRE(value != nullptr);
  return *value;
}

Names texts(const rapidjson::Value& list) {
  Names names;
  for (const auto& each : list.GetArray()) names.insert(each.GetString());
  return names;
}

/// "GET /api/v1/sandboxes/{id}" for each that is described.
Names described_operations() {
  const auto document = description();
  Names operations;
  for (const auto& path : at(document, "/paths").GetObject())
    for (const auto method : {http::Method::get, http::Method::head, http::Method::post, http::Method::put,
                              http::Method::patch, http::Method::del, http::Method::options}) {
      std::string key(to_string(method));
      for (char& c : key) c = static_cast<char>(c - 'A' + 'a');
      if (path.value.HasMember(key.c_str()))
        operations.insert(std::string(to_string(method)) + " " + path.name.GetString());
    }
  return operations;
}

Names served_operations(http::Api& api) {
  http::Router router;
  http::add_routes(router, api);
  Names operations;
  for (const auto& [method, pattern] : router.routes()) {
    // OpenAPI has no name for what is left of a path.
    auto path = pattern;
    if (const auto dots = path.find("...}"); dots != std::string::npos) path.erase(dots, 3);
    operations.insert(std::string(to_string(method)) + " " + path);
  }
  return operations;
}

Names without(Names names, const Names& others) {
  for (const auto& each : others) names.erase(each);
  return names;
}

}  // namespace

TEST_CASE_METHOD(Resources, "every operation that is served is described", "[http][description]") {
  CHECK(without(served_operations(api()), described_operations()) == Names{});
}

TEST_CASE_METHOD(Resources, "every operation that is described is served", "[http][description]") {
  CHECK(without(described_operations(), served_operations(api())) == Names{});
}

TEST_CASE("every code of an error is described", "[http][description]") {
  Names codes;
#define NANOBOX_X(name) codes.insert(#name);
  NANOBOX_ERROR_CODES(NANOBOX_X)
#undef NANOBOX_X
  CHECK(texts(at(description(), "/components/schemas/ErrorCode/enum")) == codes);
}

TEST_CASE("every code of an error is described with its status", "[http][description]") {
  const auto document = description();
  std::map<int, Names> codes;
#define NANOBOX_X(name) codes[http::http_status(ErrorCode::name).code].insert(#name);
  NANOBOX_ERROR_CODES(NANOBOX_X)
#undef NANOBOX_X
  for (const auto& [status, names] : codes) {
    const auto restriction = "/components/schemas/Problem" + std::to_string(status) + "/allOf/1/properties";
    CHECK(texts(at(document, restriction + "/code/enum")) == names);
    CHECK(at(document, restriction + "/status/const").GetInt() == status);
  }
}

TEST_CASE("the description is of this version of the server", "[http][description]") {
  CHECK(std::string(at(description(), "/info/version").GetString()) == "1.2.3");
}

}  // namespace nanobox::test
