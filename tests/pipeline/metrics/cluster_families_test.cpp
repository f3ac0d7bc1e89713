#include "pipeline/metrics/cluster_families.hpp"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <catch2/catch.hpp>

using namespace nanobox;

namespace {

std::string text_of(const ClusterNow& now, ClusterNames& names) {
  return prometheus::TextSerializer().Serialize(cluster_families(now, names));
}

std::string text_of(const ClusterNow& now) {
  ClusterNames names;
  return text_of(now, names);
}

bool has(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

NodeStatus node(const std::string& id, NodeState state = NodeState::ready) {
  NodeStatus node;
  node.node_id = id;
  node.state = state;
  return node;
}

ConcernReport concern(const std::string& name) {
  ConcernReport report;
  report.concern = name;
  return report;
}

ClusterNow with(const NodeStatus& node) {
  ClusterNow now;
  now.nodes.push_back(std::make_shared<const NodeStatus>(node));
  return now;
}

}  // namespace

TEST_CASE("every state is told, those that nothing is in as well", "[metrics]") {
  ClusterNow now = with(node("n1"));
  Sandbox paused;
  paused.status = SandboxStatus::paused;
  now.sandboxes.push_back(std::make_shared<const Sandbox>(paused));
  const auto text = text_of(now);
  CHECK(has(text, R"(nanobox_sandboxes{status="paused"} 1)"));
  CHECK(has(text, R"(nanobox_sandboxes{status="running"} 0)"));
  CHECK(has(text, R"(nanobox_nodes{state="ready"} 1)"));
  CHECK(has(text, R"(nanobox_nodes{state="lost"} 0)"));
  CHECK(has(text, R"(nanobox_templates{status="failed"} 0)"));
}

TEST_CASE("what a node tells is told, in bytes and seconds", "[metrics]") {
  auto told = node("n1");
  told.beat.disk_free_mb = 3;
  told.beat.addresses_free = 5;
  told.beat.channel_in_bytes = 7;
  told.beat.usage = {{"ann", "web", 2, 4096, 1'500'000}};
  auto scheduler = concern("scheduler");
  scheduler.mailbox = 9;
  scheduler.wait_us = 2'000'000;
  scheduler.restarts = 1;
  scheduler.unsteady = true;
  told.beat.concerns = {scheduler};
  const auto text = text_of(with(told));
  CHECK(has(text, R"(nanobox_node_disk_free_bytes{node="n1"} 3145728)"));
  CHECK(has(text, R"(nanobox_addresses_free{node="n1"} 5)"));
  CHECK(has(text, R"(nanobox_channel_bytes_total{node="n1",direction="in"} 7)"));
  CHECK(has(text, R"(nanobox_vmms{node="n1",template="web"} 2)"));
  CHECK(has(text, R"(nanobox_vmm_pss_bytes{node="n1",template="web"} 4096)"));
  CHECK(has(text, R"(nanobox_vmm_cpu_seconds_total{node="n1",template="web"} 1.5)"));
  CHECK(has(text, R"(nanobox_actor_mailbox_messages{node="n1",concern="scheduler"} 9)"));
  CHECK(has(text, R"(nanobox_actor_wait_seconds{node="n1",concern="scheduler"} 2)"));
  CHECK(has(text, R"(nanobox_actor_restarts_total{node="n1",concern="scheduler"} 1)"));
  CHECK(has(text, R"(nanobox_actor_unsteady{node="n1",concern="scheduler"} 1)"));
}

TEST_CASE("a lost node has a state and nothing else", "[metrics]") {
  auto lost = node("n1", NodeState::lost);
  lost.beat.usage = {{"ann", "web", 2, 4096, 1'500'000}};
  const auto text = text_of(with(lost));
  CHECK(has(text, R"(nanobox_node_ready{node="n1"} 0)"));
  CHECK(text.find("web") == std::string::npos);
  CHECK(text.find("nanobox_node_disk_free_bytes{") == std::string::npos);
}

TEST_CASE("pools of one name are summed, whoever's they are", "[metrics]") {
  auto told = node("n1");
  told.pools = {{"ann", "web", 1, 2, 4, ""}, {"bob", "web", 2, 3, 5, ""}};
  const auto text = text_of(with(told));
  CHECK(has(text, R"(nanobox_pool_ready{node="n1",template="web"} 3)"));
  CHECK(has(text, R"(nanobox_pool_min_ready{node="n1",template="web"} 5)"));
  CHECK(has(text, R"(nanobox_pool_max_ready{node="n1",template="web"} 9)"));
}

TEST_CASE("the 201st template and all after it are one", "[metrics]") {
  auto told = node("n1");
  for (int i = 0; i < 300; ++i) told.beat.usage.push_back({"ann", "t" + std::to_string(i), 1, 1, 0});
  ClusterNames names;
  const auto text = text_of(with(told), names);
  CHECK(has(text, R"(nanobox_vmms{node="n1",template="other"} 100)"));
  std::size_t lines = 0;
  for (auto at = text.find("nanobox_vmms{"); at != std::string::npos; at = text.find("nanobox_vmms{", at + 1)) ++lines;
  CHECK(lines == 201);

  SECTION("and stay it, whatever comes later") {
    told.beat.usage = {{"ann", "t0", 1, 1, 0}, {"ann", "brand-new", 1, 1, 0}};
    const auto later = text_of(with(told), names);
    CHECK(has(later, R"(nanobox_vmms{node="n1",template="t0"} 1)"));
    CHECK(has(later, R"(nanobox_vmms{node="n1",template="other"} 1)"));
  }
}

TEST_CASE("no two values have the same labels, whatever a node says", "[metrics]") {
  auto told = node("n1");
  for (int i = 0; i < 200; ++i) told.beat.concerns.push_back(concern("c" + std::to_string(i)));
  told.beat.concerns.push_back(concern("c0"));
  const auto families = [&] {
    ClusterNames names;
    return cluster_families(with(told), names);
  }();
  for (const auto& family : families) {
    std::vector<std::vector<prometheus::ClientMetric::Label>> labels;
    for (const auto& metric : family.metric) labels.push_back(metric.label);
    std::ranges::sort(labels, std::less<>());
    CHECK(std::adjacent_find(labels.begin(), labels.end()) == labels.end());
    CHECK(labels.size() <= 65);
  }
}
