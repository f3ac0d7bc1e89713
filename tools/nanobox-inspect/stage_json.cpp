#include "tools/nanobox-inspect/stage_json.hpp"

#include <map>

#include "tools/nanobox-inspect/time_window.hpp"

namespace nanobox::inspection {
namespace {

using namespace cli;

void put_signed(JsonWriter& json, std::string_view key, std::int64_t value) {
  json_key(json, key);
  json.Int64(value);
}

void put_double(JsonWriter& json, std::string_view key, double value) {
  json_key(json, key);
  json.Double(value);
}

void put_flag(JsonWriter& json, std::string_view key, bool value) {
  json_key(json, key);
  json.Bool(value);
}

void write_stats(JsonWriter& json, const std::vector<StageStats>& all) {
  json.StartArray();
  for (const auto& stats : all) {
    json.StartObject();
    json_put(json, "pipeline", stats.pipeline);
    json_put(json, "stage", stats.stage);
    json_put(json, "count", stats.count);
    json_put(json, "running", stats.running);
    json_put(json, "failures", stats.failures);
    json_put(json, "retries", stats.retries);
    put_signed(json, "p50_us", stats.p50_us);
    put_signed(json, "p95_us", stats.p95_us);
    put_signed(json, "p99_us", stats.p99_us);
    put_signed(json, "max_us", stats.max_us);
    put_signed(json, "total_us", stats.total_us);
    put_double(json, "share", stats.share);
    json_put(json, "bytes", stats.bytes);
    json.EndObject();
  }
  json.EndArray();
}

void write_side(JsonWriter& json, std::string_view name, std::uint64_t count, std::int64_t median_us,
                std::int64_t p95_us) {
  json_key(json, name);
  json.StartObject();
  json_put(json, "count", count);
  put_signed(json, "p50_us", median_us);
  put_signed(json, "p95_us", p95_us);
  json.EndObject();
}

std::string taken(const rapidjson::StringBuffer& buffer) {
  return {buffer.GetString(), buffer.GetSize()};
}

void write_actors(JsonWriter& json, const TopData& data) {
  json_key(json, "actors");
  if (data.actors.empty() && !data.no_actors.empty()) {
    json.Null();
    return;
  }
  json.StartArray();
  for (const auto& actor : data.actors) {
    json.StartObject();
    json_put(json, "id", actor.id);
    put_signed(json, "mailbox", actor.mailbox);
    put_signed(json, "wait_us", actor.wait_us);
    put_signed(json, "handled", actor.handled);
    put_signed(json, "restarts", actor.restarts);
    json_put(json, "last_error", actor.last_error);
    put_flag(json, "unsteady", actor.unsteady);
    put_signed(json, "count", actor.count);
    json.EndObject();
  }
  json.EndArray();
}

}  // namespace

std::string hotspots_json(std::int64_t since_us, std::size_t runs, const std::vector<StageStats>& stats) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  json_put(json, "since", time_text(since_us));
  json_put(json, "runs", static_cast<std::uint64_t>(runs));
  json_key(json, "items");
  write_stats(json, stats);
  json.EndObject();
  return taken(buffer);
}

std::string comparison_json(bool is_slower, const std::vector<StageChange>& changes) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_flag(json, "slower", is_slower);
  json_key(json, "items");
  json.StartArray();
  for (const auto& change : changes) {
    json.StartObject();
    json_put(json, "pipeline", change.pipeline);
    json_put(json, "stage", change.stage);
    write_side(json, "a", change.count_a, change.median_a_us, change.p95_a_us);
    write_side(json, "b", change.count_b, change.median_b_us, change.p95_b_us);
    put_signed(json, "slower_us", change.slower_us());
    if (const auto ratio = change.ratio()) {
      put_double(json, "ratio", *ratio);
    } else {
      json_key(json, "ratio");
      json.Null();
    }
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  return taken(buffer);
}

std::string top_json(const TopData& data, const TopState& state) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  json_put(json, "time", time_text(data.now_us));
  put_signed(json, "window_sec", state.window_sec);
  std::map<std::string, std::uint64_t> by_status;
  for (const char* status : {"queued", "running", "succeeded", "failed", "cancelled"}) by_status[status] = 0;
  for (const auto& run : data.runs) ++by_status[run.status];
  json_key(json, "runs");
  json.StartObject();
  for (const auto& [status, count] : by_status) json_put(json, status, count);
  json.EndObject();
  json_key(json, "sandboxes");
  json.StartObject();
  for (const auto& [status, count] : data.sandboxes) put_signed(json, status, count);
  json.EndObject();
  json_key(json, "stages");
  write_stats(json, ordered_stages(data, state.stages));
  write_actors(json, data);
  json_key(json, "nodes");
  json.StartArray();
  for (const auto& node : data.nodes) {
    json.StartObject();
    json_put(json, "id", node.id);
    json_put(json, "status", node.status);
    put_signed(json, "sandboxes", node.sandboxes);
    put_signed(json, "memory_used_mb", node.memory_used_mb);
    put_signed(json, "memory_total_mb", node.memory_total_mb);
    json.EndObject();
  }
  json.EndArray();
  json_key(json, "pools");
  json.StartArray();
  for (const auto& pool : data.pools) {
    json.StartObject();
    json_put(json, "template", pool.name);
    put_signed(json, "ready", pool.ready);
    put_signed(json, "min_ready", pool.least);
    put_signed(json, "max_ready", pool.most);
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  return taken(buffer);
}

}  // namespace nanobox::inspection
