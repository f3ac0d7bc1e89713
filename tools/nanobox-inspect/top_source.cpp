#include "tools/nanobox-inspect/top_source.hpp"

#include <algorithm>

#include "tools/nanobox/json.hpp"
#include "tools/nanobox/listing.hpp"

namespace nanobox::inspection {
namespace {

using namespace cli;

NodeView read_node(const rapidjson::Value& json) {
  NodeView node{.id = json_text(json, "id"),
                .status = json_text(json, "status"),
                .reason = json_text(json, "reason"),
                .sandboxes = json_number(json, "sandboxes")};
  if (const auto* resources = json_member(json, "resources")) {
    node.vcpu_used = json_number_in(*resources, "used", "vcpu");
    node.vcpu_total = json_number_in(*resources, "total", "vcpu");
    node.memory_used_mb = json_number_in(*resources, "used", "memory_mb");
    node.memory_total_mb = json_number_in(*resources, "total", "memory_mb");
  }
  return node;
}

void read_stats(const rapidjson::Value& stats, TopData& data) {
  data.sandboxes.clear();
  data.pools.clear();
  if (const auto* states = json_member(stats, "sandboxes"); states != nullptr && states->IsObject())
    for (const auto& state : states->GetObject())
      if (state.value.IsInt64()) data.sandboxes.emplace_back(state.name.GetString(), state.value.GetInt64());
  if (const auto* pools = json_member(stats, "pools"); pools != nullptr && pools->IsArray())
    for (const auto& pool : pools->GetArray())
      data.pools.push_back({.name = json_text(pool, "template"),
                            .ready = json_number(pool, "ready"),
                            .least = json_number(pool, "min_ready"),
                            .most = json_number(pool, "max_ready"),
                            .problem = json_text(pool, "problem")});
}

/// Whether the server refused this one thing, and would answer others.
bool is_refusal(const Error& error) {
  return error.code == ErrorCode::forbidden || error.code == ErrorCode::route_not_found;
}

}  // namespace

Result<void> TopSource::ask_opened(TopData& data, const TopState& state) {
  if (state.opened.empty()) {
    data.opened.reset();
    return {};
  }
  const auto answer =
      NANOBOX_TRY(client_.send({.method = "GET", .path = "/api/v1/pipelines/runs/" + url_encode(state.opened)}));
  if (answer.succeeded()) data.opened = read_run(answer.json());
  return {};
}

Result<void> TopSource::ask(TopData& data, const TopState& state) {
  const ApiRequest stats{.method = "GET", .path = "/api/v1/stats", .patience = std::chrono::seconds(5)};
  const auto answer = NANOBOX_TRY(client_.ask(stats));
  data.now_us = server_now_us(answer);
  read_stats(answer.json(), data);
  if (state.window_sec != window_sec_) {
    window_sec_ = state.window_sec;
    feed_.set_span(window_sec_ * 1'000'000);
  }
  NANOBOX_TRY(feed_.refresh(client_, data.now_us));
  data.runs = feed_.runs();
  NANOBOX_TRY(ask_opened(data, state));

  if (auto actors = fetch_actors(client_)) {
    data.actors = *std::move(actors);
    data.no_actors.clear();
  } else if (is_refusal(actors.error())) {
    data.actors.clear();
    data.no_actors = actors.error().code == ErrorCode::forbidden ? "shown to the admin's key only"
                                                                 : "this server is older and does not tell";
  } else {
    return fail(std::move(actors).error());
  }
  std::vector<NodeView> nodes;
  const auto listed = each_item(client_, "/api/v1/nodes", [&](const auto& json) { nodes.push_back(read_node(json)); });
  if (!listed && !is_refusal(listed.error())) return listed;
  data.nodes = std::move(nodes);
  data.no_nodes = listed ? "" : "shown to the admin's key only";
  return {};
}

Result<void> TopSource::refresh(TopData& data, const TopState& state) {
  auto asked = ask(data, state);
  if (!asked && asked.error().code == ErrorCode::cancelled) return asked;
  data.problem = asked ? "" : describe(asked.error());
  return {};
}

}  // namespace nanobox::inspection
