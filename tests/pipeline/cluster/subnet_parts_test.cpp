#include "pipeline/cluster/subnet_parts.hpp"

#include <catch2/catch.hpp>

#include "pipeline/cluster/node_report.hpp"

namespace nanobox {
namespace {

TEST_CASE("a free part has no address in common with those that are taken", "[cluster]") {
  const auto subnet = parse_subnet("10.100.0.0/16").value();
  CHECK(free_subnet_part(subnet, {}).value() == parse_subnet("10.100.0.0/24").value());
  CHECK(free_subnet_part(subnet, {"10.100.0.0/24", "10.100.2.0/24"}).value() == parse_subnet("10.100.1.0/24").value());
  CHECK(free_subnet_part(subnet, {"10.100.0.0/23", "no network"}).value() == parse_subnet("10.100.2.0/24").value());
  const auto none = free_subnet_part(subnet, {"10.100.0.0/16"});
  REQUIRE_FALSE(none);
  CHECK(none.error().code == ErrorCode::no_address);
  CHECK_FALSE(none.error().mend.empty());
}

TEST_CASE("less than an eighth is low", "[cluster]") {
  CHECK_FALSE(runs_low(253, 253));
  CHECK_FALSE(runs_low(32, 253));
  CHECK(runs_low(31, 253));
  CHECK_FALSE(runs_low(1, 8));
  CHECK(runs_low(0, 5));
}

TEST_CASE("a node's parts and overlay are known while it is away", "[cluster]") {
  NodeStatus node;
  node.node_id = "n1";
  node.subnet_parts = {"10.100.1.0/24", "10.100.4.0/24"};
  node.overlay_addr = "10.9.0.11";
  const auto read = node_from_record(to_record(node));
  REQUIRE(read);
  CHECK(read->subnet_parts == node.subnet_parts);
  CHECK(read->overlay_addr == node.overlay_addr);
  // As it was stored when a node had one part only.
  CHECK(node_from_record(R"({"node_id":"n1","subnet_part":"10.100.1.0/24"})")->subnet_parts ==
        std::vector<std::string>{"10.100.1.0/24"});
}

}  // namespace
}  // namespace nanobox
