#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nanobox::inspection {

/// Why a run or stage failed, as the API says it.
struct Failure {
  std::string code;
  std::string detail;  ///< all of it in one line
  std::string attempted;
  std::string subject;
  std::string reason;
  std::string mend;
  bool operator==(const Failure&) const = default;
};

/// One stage of a run, as GET /pipelines/runs/{id} shows it.
struct StageView {
  std::string name;
  std::string status;
  std::string actor;
  std::string node_id;
  std::int64_t attempts = 0;
  std::optional<std::int64_t> started_us;  ///< Unix microseconds
  std::int64_t duration_us = 0;
  std::uint64_t bytes = 0;
  std::uint64_t total_bytes = 0;
  std::string detail;
  std::optional<Failure> error;

  bool ran() const { return started_us.has_value(); }
};

/// One run of a pipeline.
struct RunView {
  std::string id;
  std::string pipeline;
  std::string subject;
  std::string status;
  std::string node_id;
  std::int64_t created_us = 0;
  std::optional<std::int64_t> started_us;
  std::int64_t duration_us = 0;  ///< 0 before the start; so far, while it runs
  std::optional<Failure> error;
  std::vector<StageView> stages;

  bool ended() const { return status != "queued" && status != "running"; }
  std::int64_t begin_us() const { return started_us.value_or(created_us); }
  std::int64_t end_us() const { return begin_us() + duration_us; }
};

/// Reads one; what is missing (an older server tells milliseconds only) reads as empty or is worked out.
RunView read_run(const rapidjson::Value& json);

/// The stage that says most of where a run is: the one that runs, else the one that failed; null: neither.
const StageView* telling_stage(const RunView& run);

/// Unix microseconds of an RFC 3339 time; nothing where it is none.
std::optional<std::int64_t> unix_us(std::string_view rfc3339);

}  // namespace nanobox::inspection
