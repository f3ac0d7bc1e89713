#include "tools/nanobox-inspect/run_view.hpp"

#include <algorithm>

#include "config/clock.hpp"
#include "tools/nanobox/json.hpp"

namespace nanobox::inspection {
namespace {

using namespace cli;

std::optional<Failure> read_failure(const rapidjson::Value& holder) {
  const auto* json = json_member(holder, "error");
  if (json == nullptr || !json->IsObject()) return std::nullopt;
  return Failure{.code = json_text(*json, "code"),
                 .detail = json_text(*json, "detail"),
                 .attempted = json_text(*json, "attempted"),
                 .subject = json_text(*json, "subject"),
                 .reason = json_text(*json, "reason"),
                 .mend = json_text(*json, "mend")};
}

std::optional<std::int64_t> read_start(const rapidjson::Value& json) {
  if (const auto* exact = json_member(json, "started_us"); exact != nullptr && exact->IsInt64())
    return exact->GetInt64();
  return unix_us(json_text(json, "started_at"));
}

std::int64_t read_duration(const rapidjson::Value& json) {
  return std::max<std::int64_t>(0, json_number(json, "duration_us", json_number(json, "duration_ms") * 1000));
}

std::uint64_t read_bytes(const rapidjson::Value& json, std::string_view key) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, json_number(json, key)));
}

StageView read_stage(const rapidjson::Value& json) {
  return {.name = json_text(json, "name"),
          .status = json_text(json, "status"),
          .actor = json_text(json, "actor"),
          .node_id = json_text(json, "node_id"),
          .attempts = json_number(json, "attempts"),
          .started_us = read_start(json),
          .duration_us = read_duration(json),
          .bytes = read_bytes(json, "bytes"),
          .total_bytes = read_bytes(json, "total_bytes"),
          .detail = json_text(json, "detail"),
          .error = read_failure(json)};
}

}  // namespace

std::optional<std::int64_t> unix_us(std::string_view rfc3339) {
  const auto time = from_rfc3339(rfc3339);
  if (!time) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::microseconds>(time->time_since_epoch()).count();
}

RunView read_run(const rapidjson::Value& json) {
  RunView run{.id = json_text(json, "id"),
              .pipeline = json_text(json, "pipeline"),
              .subject = json_text(json, "subject"),
              .status = json_text(json, "status"),
              .node_id = json_text(json, "node_id"),
              .created_us = 0,
              .started_us = read_start(json),
              .duration_us = read_duration(json),
              .error = read_failure(json),
              .stages = {}};
  if (const auto* stages = json_member(json, "stages"); stages != nullptr && stages->IsArray())
    for (const auto& stage : stages->GetArray()) run.stages.push_back(read_stage(stage));
  run.created_us = unix_us(json_text(json, "created_at")).value_or(run.started_us.value_or(0));
  return run;
}

const StageView* telling_stage(const RunView& run) {
  for (const char* status : {"running", "failed"}) {
    // Stages that overlap: the later one is what is waited for.
    const auto last = std::find_if(run.stages.rbegin(), run.stages.rend(),
                                   [&](const StageView& stage) { return stage.status == status; });
    if (last != run.stages.rend()) return &*last;
  }
  return nullptr;
}

}  // namespace nanobox::inspection
