#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/boxed.hpp"
#include "config/clock.hpp"
#include "config/error.hpp"
#include "pipeline/stage.hpp"
#include "pipeline/stage_context.hpp"

namespace nanobox {

enum class StageStatus : std::uint8_t { pending = 1, running, succeeded, failed, skipped, undone };
enum class RunStatus : std::uint8_t { queued = 1, running, succeeded, failed, cancelled };
std::string_view to_string(StageStatus status);
std::string_view to_string(RunStatus status);

struct StageRecord {
  std::string name;
  StageStatus status = StageStatus::pending;
  std::string actor = {};
  std::string node_id = {};
  std::uint32_t attempts = 0;
  std::optional<PreciseTime> started_at = {};  ///< of the first attempt
  std::int64_t duration_us = 0;                ///< from then on to its end
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
  std::string detail = {};
  std::vector<LayerProgress> layers = {};
  Boxed<Error> error = {};
  bool operator==(const StageRecord&) const = default;
};

/// One run of a pipeline, as GET /pipelines/runs/{id} shows it. Changes only by the functions below.
struct RunRecord {
  std::string id;
  std::string pipeline;
  std::string subject;  ///< template name or sandbox id
  std::string owner;
  std::string node_id = {};
  RunStatus status = RunStatus::queued;
  WallTime created_at{};
  std::optional<PreciseTime> started_at = {};
  std::optional<PreciseTime> ended_at = {};
  Boxed<Error> error = {};
  std::vector<StageRecord> stages = {};
  bool operator==(const RunRecord&) const = default;
};

RunRecord make_run(std::string pipeline, std::string subject, std::string owner, std::string node_id,
                   const std::vector<StageDescription>& stages);
void stage_started(RunRecord& run, std::size_t stage, PreciseTime now);
void stage_ended(RunRecord& run, std::size_t stage, PreciseTime now);
void stage_failed(RunRecord& run, std::size_t stage, Error error, PreciseTime now);
/// Ends the run; stages that never ran become `skipped`.
void run_ended(RunRecord& run, RunStatus status, const std::optional<Error>& error, PreciseTime now);

/// Writes one as the contract's JSON object.
std::string to_json(const RunRecord& run);
/// All of it, and back; nothing where the text is not exactly that.
std::string run_to_record(const RunRecord& run);
std::optional<RunRecord> run_from_record(std::string_view json);
std::string to_json(const PipelineDescription& pipeline);
/// The `stages` array alone, as the template's status shows it.
std::string stages_json(const RunRecord& run);

}  // namespace nanobox
