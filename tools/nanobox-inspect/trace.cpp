#include "tools/nanobox-inspect/trace.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "tools/nanobox-inspect/lanes.hpp"
#include "tools/nanobox/json.hpp"

namespace nanobox::inspection {
namespace {

using namespace cli;

/// What one run did on one node.
struct Part {
  const RunView* run = nullptr;
  Interval interval;
  std::vector<const StageView*> stages;  ///< ascending by start
  std::vector<std::size_t> stage_lanes;  ///< within the part
  std::size_t lanes() const { return stage_lanes.empty() ? 1 : *std::ranges::max_element(stage_lanes) + 1; }
};

Interval interval_of(const StageView& stage) {
  return {*stage.started_us, *stage.started_us + stage.duration_us};
}

std::string node_of(const RunView& run, const StageView& stage) {
  const auto& node = stage.node_id.empty() ? run.node_id : stage.node_id;
  return node.empty() ? "control" : node;
}

/// The parts of all runs by node and pipeline, ascending by start.
std::map<std::pair<std::string, std::string>, std::vector<Part>> parts_of(const std::vector<RunView>& runs) {
  std::map<std::pair<std::string, std::string>, std::vector<Part>> parts;
  for (const auto& run : runs) {
    std::map<std::string, Part> by_node;
    for (const auto& stage : run.stages) {
      if (!stage.ran()) continue;
      auto& part = by_node[node_of(run, stage)];
      part.run = &run;
      part.stages.push_back(&stage);
    }
    for (auto& [node, part] : by_node) {
      std::ranges::stable_sort(part.stages, {}, [](const auto* stage) { return *stage->started_us; });
      std::vector<Interval> intervals;
      for (const auto* stage : part.stages) intervals.push_back(interval_of(*stage));
      part.stage_lanes = assign_lanes(intervals);
      part.interval = {intervals.front().from, intervals.front().until};
      for (const auto& interval : intervals) part.interval.until = std::max(part.interval.until, interval.until);
      parts[{node, run.pipeline}].push_back(std::move(part));
    }
  }
  for (auto& [key, list] : parts)
    std::ranges::stable_sort(list, {}, [](const Part& part) { return part.interval.from; });
  return parts;
}

class TraceWriter {
public:
  explicit TraceWriter(JsonWriter& json) : json_(json) {}

  void name(const char* what, std::uint64_t process, std::uint64_t thread, const std::string& name, const char* sort,
            std::uint64_t order) {
    for (const bool is_name : {true, false}) {
      json_.StartObject();
      json_put(json_, "ph", std::string_view("M"));
      json_put(json_, "name", std::string_view(is_name ? what : sort));
      json_put(json_, "pid", process);
      json_put(json_, "tid", thread);
      json_key(json_, "args");
      json_.StartObject();
      if (is_name)
        json_put(json_, "name", name);
      else
        json_put(json_, "sort_index", order);
      json_.EndObject();
      json_.EndObject();
    }
  }

  void begin_slice(const std::string& name, std::string_view category, std::uint64_t process, std::uint64_t thread,
                   Interval interval) {
    json_.StartObject();
    json_put(json_, "ph", std::string_view("X"));
    json_put(json_, "name", name);
    json_put(json_, "cat", category);
    json_put(json_, "pid", process);
    json_put(json_, "tid", thread);
    json_key(json_, "ts");
    json_.Int64(interval.from);
    json_key(json_, "dur");
    json_.Int64(interval.until - interval.from);
    json_key(json_, "args");
    json_.StartObject();
  }
  void end_slice() {
    json_.EndObject();
    json_.EndObject();
  }

  void put_failure(const std::optional<Failure>& failure) {
    if (!failure) return;
    json_put(json_, "error", failure->code);
    json_put(json_, "error_detail", failure->detail);
  }

  void run_slice(const Part& part, std::uint64_t process, std::uint64_t thread) {
    const auto& run = *part.run;
    begin_slice(run.pipeline + " " + run.subject, "run", process, thread, part.interval);
    json_put(json_, "run", run.id);
    json_put(json_, "status", run.status);
    if (run.started_us && *run.started_us > run.created_us)
      json_put(json_, "waited_us", static_cast<std::uint64_t>(*run.started_us - run.created_us));
    put_failure(run.error);
    end_slice();
  }

  void stage_slice(const RunView& run, const StageView& stage, std::uint64_t process, std::uint64_t thread) {
    begin_slice(stage.name, "stage", process, thread, interval_of(stage));
    json_put(json_, "run", run.id);
    json_put(json_, "status", stage.status);
    json_put(json_, "actor", stage.actor);
    json_put(json_, "attempts", static_cast<std::uint64_t>(std::max<std::int64_t>(0, stage.attempts)));
    if (stage.bytes > 0) json_put(json_, "bytes", stage.bytes);
    if (!stage.detail.empty()) json_put(json_, "detail", stage.detail);
    put_failure(stage.error);
    end_slice();
  }

private:
  JsonWriter& json_;
};

}  // namespace

std::string chrome_trace(const std::vector<RunView>& runs) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  json_put(json, "displayTimeUnit", std::string_view("ms"));
  json_key(json, "traceEvents");
  json.StartArray();
  TraceWriter writer(json);
  std::string node_before;
  std::uint64_t process = 0, thread = 0;
  for (const auto& [key, parts] : parts_of(runs)) {
    const auto& [node, pipeline] = key;
    if (process == 0 || node != node_before) {
      node_before = node;
      ++process;
      writer.name("process_name", process, 0, node, "process_sort_index", process);
    }
    LaneBook book;
    for (const auto& part : parts) {
      const auto first = thread + 1 + book.take(part.interval, part.lanes());
      writer.run_slice(part, process, first);
      for (std::size_t at = 0; at < part.stages.size(); ++at)
        writer.stage_slice(*part.run, *part.stages[at], process, first + part.stage_lanes[at]);
    }
    for (std::size_t lane = 0; lane < book.lanes(); ++lane)
      writer.name("thread_name", process, thread + 1 + lane, pipeline + " " + std::to_string(lane + 1),
                  "thread_sort_index", thread + 1 + lane);
    thread += book.lanes();
  }
  json.EndArray();
  json.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace nanobox::inspection
