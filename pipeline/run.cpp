#include "pipeline/run.hpp"

#include <algorithm>

#include "config/id.hpp"
#include "pipeline/json_text.hpp"
#include "pipeline/record_fields.hpp"

namespace nanobox {

std::string_view to_string(Concern concern) {
  switch (concern) {
    case Concern::image_puller:
      return "image_puller";
    case Concern::layer_extractor:
      return "layer_extractor";
    case Concern::ext4_builder:
      return "ext4_builder";
    case Concern::template_registry:
      return "template_registry";
    case Concern::scheduler:
      return "scheduler";
    case Concern::ip_allocator:
      return "ip_allocator";
    case Concern::network_keeper:
      return "network_keeper";
    case Concern::disk_keeper:
      return "disk_keeper";
    case Concern::vm_supervisor:
      return "vm_supervisor";
    case Concern::snapshot_maker:
      return "snapshot_maker";
  }
  return "unknown";
}

std::string_view to_string(StageStatus status) {
  switch (status) {
    case StageStatus::pending:
      return "pending";
    case StageStatus::running:
      return "running";
    case StageStatus::succeeded:
      return "succeeded";
    case StageStatus::failed:
      return "failed";
    case StageStatus::skipped:
      return "skipped";
    case StageStatus::undone:
      return "undone";
  }
  return "unknown";
}

std::string_view to_string(RunStatus status) {
  switch (status) {
    case RunStatus::queued:
      return "queued";
    case RunStatus::running:
      return "running";
    case RunStatus::succeeded:
      return "succeeded";
    case RunStatus::failed:
      return "failed";
    case RunStatus::cancelled:
      return "cancelled";
  }
  return "unknown";
}

namespace {

/// None where another node's clock, or the same one set back, has it end before it began.
std::int64_t microseconds_until(PreciseTime end, PreciseTime start) {
  return std::max<std::int64_t>(0, (end - start).count());
}

}  // namespace

RunRecord make_run(std::string pipeline, std::string subject, std::string owner, std::string node_id,
                   const std::vector<StageDescription>& stages) {
  RunRecord run{.id = make_id("op"),
                .pipeline = std::move(pipeline),
                .subject = std::move(subject),
                .owner = std::move(owner),
                .node_id = node_id,
                .created_at = wall_now()};
  for (const auto& stage : stages)
    run.stages.push_back(
        {.name = std::string(stage.name), .actor = std::string(to_string(stage.concern)), .node_id = node_id});
  return run;
}

void stage_started(RunRecord& run, std::size_t stage, PreciseTime now) {
  auto& record = run.stages.at(stage);
  if (!run.started_at) run.started_at = now;
  run.status = RunStatus::running;
  if (!record.started_at) record.started_at = now;
  record.status = StageStatus::running;
  record.error.reset();
  ++record.attempts;
}

void stage_ended(RunRecord& run, std::size_t stage, PreciseTime now) {
  auto& record = run.stages.at(stage);
  if (record.status != StageStatus::running) return;
  record.status = StageStatus::succeeded;
  if (record.total_bytes != 0) record.done_bytes = record.total_bytes;
  record.duration_us = microseconds_until(now, record.started_at.value_or(now));
}

void stage_failed(RunRecord& run, std::size_t stage, Error error, PreciseTime now) {
  auto& record = run.stages.at(stage);
  record.status = StageStatus::failed;
  record.error = std::move(error);
  record.duration_us = microseconds_until(now, record.started_at.value_or(now));
}

void run_ended(RunRecord& run, RunStatus status, const std::optional<Error>& error, PreciseTime now) {
  run.status = status;
  run.error = error;
  run.ended_at = now;
  for (auto& stage : run.stages)
    if (stage.status == StageStatus::pending || stage.status == StageStatus::running)
      stage.status = StageStatus::skipped;
}

namespace {

std::optional<WallTime> in_milliseconds(const std::optional<PreciseTime>& time) {
  if (!time) return std::nullopt;
  return std::chrono::floor<std::chrono::milliseconds>(*time);
}

void put_number_or_null(JsonWriter& json, std::string_view key, const std::optional<std::int64_t>& number) {
  put(json, key);
  if (number)
    json.Int64(*number);
  else
    json.Null();
}

void put_start(JsonWriter& json, const std::optional<PreciseTime>& time) {
  put_time(json, "started_at", in_milliseconds(time));
  put_number_or_null(json, "started_us", time ? std::optional(time->time_since_epoch().count()) : std::nullopt);
}

void write_layers(JsonWriter& json, const std::vector<LayerProgress>& layers) {
  put(json, "layers");
  json.StartArray();
  for (const auto& layer : layers) {
    json.StartObject();
    put_text(json, "digest", layer.digest);
    put(json, "done_bytes");
    json.Uint64(layer.done_bytes);
    put(json, "total_bytes");
    json.Uint64(layer.total_bytes);
    json.EndObject();
  }
  json.EndArray();
}

void write_stages(JsonWriter& json, const RunRecord& run) {
  json.StartArray();
  for (const auto& stage : run.stages) {
    json.StartObject();
    put_text(json, "name", stage.name);
    put_text(json, "status", to_string(stage.status));
    put_text(json, "actor", stage.actor);
    put_text(json, "node_id", stage.node_id);
    put(json, "attempts");
    json.Uint(stage.attempts);
    put_start(json, stage.started_at);
    const auto duration_us = stage.status == StageStatus::running && stage.started_at
                                 ? microseconds_until(precise_now(), *stage.started_at)
                                 : std::max<std::int64_t>(0, stage.duration_us);
    put(json, "duration_ms");
    json.Int64(duration_us / 1000);
    put(json, "duration_us");
    json.Int64(duration_us);
    put(json, "bytes");
    json.Uint64(stage.done_bytes);
    put(json, "total_bytes");
    json.Uint64(stage.total_bytes);
    put_text_or_null(json, "detail", stage.detail);
    if (!stage.layers.empty()) write_layers(json, stage.layers);
    put_error(json, "error", stage.error);
    json.EndObject();
  }
  json.EndArray();
}

}  // namespace

std::string stages_json(const RunRecord& run) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  write_stages(json, run);
  return buffer.GetString();
}

std::string to_json(const RunRecord& run) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "id", run.id);
  put_text(json, "pipeline", run.pipeline);
  put_text(json, "subject", run.subject);
  put_text(json, "status", to_string(run.status));
  put_text(json, "node_id", run.node_id);
  put_time(json, "created_at", run.created_at);
  put_start(json, run.started_at);
  put_time(json, "ended_at", in_milliseconds(run.ended_at));
  const auto duration_us =
      run.started_at ? std::optional(microseconds_until(run.ended_at.value_or(precise_now()), *run.started_at))
                     : std::nullopt;
  put_number_or_null(json, "duration_ms", duration_us ? std::optional(*duration_us / 1000) : std::nullopt);
  put_number_or_null(json, "duration_us", duration_us);
  put_error(json, "error", run.error);
  put(json, "stages");
  write_stages(json, run);
  json.EndObject();
  return buffer.GetString();
}

std::string run_to_record(const RunRecord& run) {
  return write_fields(run);
}

std::optional<RunRecord> run_from_record(std::string_view json) {
  return read_fields<RunRecord>(json);
}

std::string to_json(const PipelineDescription& pipeline) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "name", pipeline.name);
  put(json, "stages");
  json.StartArray();
  for (const auto& stage : pipeline.stages) {
    json.StartObject();
    put_text(json, "name", stage.name);
    put_text(json, "actor", to_string(stage.concern));
    put_text(json, "input", stage.input);
    put_text(json, "output", stage.output);
    put(json, "deadline_ms");
    json.Int64(stage.deadline.count());
    put(json, "retries");
    json.Uint(stage.retries);
    put_text_or_null(json, "undo", stage.undo);
    put(json, "overlaps_next");
    json.Bool(stage.overlaps_next);
    put(json, "commits");
    json.Bool(stage.commits);
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  return buffer.GetString();
}

}  // namespace nanobox
