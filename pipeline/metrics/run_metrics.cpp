#include "pipeline/metrics/run_metrics.hpp"

#include <chrono>

namespace nanobox {

namespace {

constexpr std::size_t kRemembered = 4096;
/// Whoever says that it begins runs without end would have them all remembered.
constexpr std::size_t kOpenMax = 100'000;

double seconds(std::int64_t microseconds) {
  return static_cast<double>(microseconds) / 1e6;
}

}  // namespace

RunMetrics::RunMetrics(prometheus::Registry& registry)
    : runs_(registry, "nanobox_pipeline_runs_total", "Runs of pipelines that have ended.", {"pipeline", "outcome"}),
      stage_bytes_(registry, "nanobox_stage_bytes_total", "Bytes that stages of pipelines moved.",
                   {"pipeline", "stage"}),
      stage_durations_(registry, "nanobox_stage_duration_seconds",
                       "How long stages of pipelines took, from the first attempt to the end.",
                       {"pipeline", "stage", "outcome"}),
      fork_durations_(registry, "nanobox_fork_duration_seconds",
                      "How long it took to save a sandbox for its copies: runs of the pipeline fork.", {}),
      pause_durations_(registry, "nanobox_pause_duration_seconds",
                       "How long it took to put a sandbox to disk: runs of the pipeline pause.", {}),
      layer_hits_(Series<prometheus::Counter, 0>(registry, "nanobox_image_layer_hits_total",
                                                 "Layers that were in a node's cache when a warmup began to pull.",
                                                 {})({})),
      layer_misses_(Series<prometheus::Counter, 0>(registry, "nanobox_image_layer_misses_total",
                                                   "Layers that were not.", {})({})) {
  for (const auto* pipeline : {"warmup", "boot", "pause", "fork"})
    for (const auto* outcome : {"succeeded", "failed", "cancelled"}) runs_({pipelines_(pipeline), outcome});
  fork_durations_({});
  pause_durations_({});
}

bool RunMetrics::is_counted(const std::string& id) {
  if (!counted_.insert(id).second) return true;
  counted_order_.push_back(id);
  if (counted_order_.size() > kRemembered) {
    counted_.erase(counted_order_.front());
    counted_order_.pop_front();
  }
  return false;
}

/// As the first report of a pull has them: what is whole then was there.
void RunMetrics::count_layers(const RunRecord& run, Open& open) {
  if (open.layers_counted || run.pipeline != "warmup") return;
  for (const auto& stage : run.stages) {
    if (stage.name != "pull" || stage.layers.empty()) continue;
    open.layers_counted = true;
    for (const auto& layer : stage.layers)
      (layer.done_bytes == layer.total_bytes ? layer_hits_ : layer_misses_).Increment();
  }
}

void RunMetrics::count(const RunRecord& run) {
  const auto pipeline = pipelines_(run.pipeline);
  runs_({pipeline, to_string(run.status)}).Increment();
  if (run.started_at && run.status == RunStatus::succeeded) {
    const auto took = seconds((*run.ended_at - *run.started_at).count());
    if (run.pipeline == "fork") fork_durations_({}).Observe(took);
    if (run.pipeline == "pause") pause_durations_({}).Observe(took);
  }
  for (const auto& stage : run.stages) {
    if (stage.status == StageStatus::pending || stage.status == StageStatus::skipped) continue;
    const auto name = stages_(stage.name);
    // What was undone had succeeded.
    const auto* outcome = stage.status == StageStatus::failed ? "failed" : "succeeded";
    stage_durations_({pipeline, name, outcome}).Observe(seconds(stage.duration_us));
    if (stage.done_bytes > 0) stage_bytes_({pipeline, name}).Increment(static_cast<double>(stage.done_bytes));
  }
}

void RunMetrics::take(const RunRecord& run) {
  const std::lock_guard lock(mutex_);
  if (!run.ended_at) {
    if (counted_.contains(run.id)) return;
    if (const auto known = open_.find(run.id); known != open_.end())
      count_layers(run, known->second);
    else if (open_.size() < kOpenMax)
      count_layers(run, open_.emplace(run.id, Open{.pipeline = run.pipeline}).first->second);
    return;
  }
  if (is_counted(run.id)) return;
  auto open = open_.extract(run.id);
  Open unseen{.pipeline = run.pipeline};
  count_layers(run, open ? open.mapped() : unseen);
  count(run);
}

std::map<std::string, std::size_t> RunMetrics::active() const {
  std::map<std::string, std::size_t> counts = {{"boot", 0}, {"fork", 0}, {"pause", 0}, {"warmup", 0}};
  const std::lock_guard lock(mutex_);
  for (const auto& [id, open] : open_) {
    const auto known = counts.find(open.pipeline);
    ++(known == counts.end() ? counts["other"] : known->second);
  }
  return counts;
}

}  // namespace nanobox
