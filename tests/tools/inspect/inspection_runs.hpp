#pragma once

#include <string>
#include <vector>

#include "tools/nanobox-inspect/run_view.hpp"

namespace nanobox::inspection {

struct StageSpan {
  std::string name;
  std::int64_t start_us, length_us;
};

/// A boot on n1 that succeeded: created and started at `begin_us`, its stages' starts counted from there.
inline RunView a_run(std::string id, std::int64_t begin_us, const std::vector<StageSpan>& stages) {
  RunView run;
  run.id = std::move(id);
  run.pipeline = "boot";
  run.subject = "sb-" + run.id;
  run.status = "succeeded";
  run.node_id = "n1";
  run.created_us = begin_us;
  run.started_us = begin_us;
  for (const auto& span : stages) {
    StageView stage;
    stage.name = span.name;
    stage.status = "succeeded";
    stage.actor = "vm_supervisor";
    stage.node_id = "n1";
    stage.attempts = 1;
    stage.started_us = begin_us + span.start_us;
    stage.duration_us = span.length_us;
    run.duration_us = std::max(run.duration_us, span.start_us + span.length_us);
    run.stages.push_back(std::move(stage));
  }
  return run;
}

}  // namespace nanobox::inspection
