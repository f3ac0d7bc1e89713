#include "tools/nanobox-inspect/run_feed.hpp"

#include <algorithm>
#include <set>

namespace nanobox::inspection {
namespace {

/// How long after its creation a run may come to be listed, with what clocks are off.
constexpr std::int64_t kLate = 5'000'000;

/// Whether there is something to tell that was not so before.
bool has_got_on(const RunView& before, const RunView& after) {
  return before.status != after.status ||
         !std::ranges::equal(before.stages, after.stages, [](const auto& left, const auto& right) {
           return left.status == right.status && left.attempts == right.attempts;
         });
}

}  // namespace

RunFeed::RunFeed(RunQuery query, std::int64_t span_us) : query_(std::move(query)), span_us_(span_us) {
  query_.status.reset();
  query_.since_us.reset();
  query_.newest_first = false;  // changes are told in the order they came
  query_.limit = 0;
}

Result<void> RunFeed::refresh(cli::ApiClient& client, std::int64_t now_us, const Changed& changed) {
  std::set<std::string> seen;
  const auto keep = [&](const rapidjson::Value& json, RunView run) {
    seen.insert(run.id);
    const auto known = runs_.find(run.id);
    if (changed && (known == runs_.end() || has_got_on(known->second, run))) changed(json, run);
    runs_.insert_or_assign(run.id, std::move(run));
  };
  // First those that go on: what ends between the questions is asked for by its id.
  for (const char* status : {"queued", "running"}) {
    auto going_on = query_;
    going_on.status = status;
    NANOBOX_TRY(each_run(client, going_on, keep));
  }
  auto latest = query_;
  latest.since_us = std::max(now_us - span_us_, looked_us_ - kLate);
  NANOBOX_TRY(each_run(client, latest, keep));
  looked_us_ = now_us;

  std::vector<std::string> ended;
  for (const auto& [id, run] : runs_)
    if (!run.ended() && !seen.contains(id)) ended.push_back(id);
  for (const auto& id : ended) {
    const auto answer =
        NANOBOX_TRY(client.send({.method = "GET", .path = "/api/v1/pipelines/runs/" + cli::url_encode(id)}));
    if (!answer.succeeded()) {
      runs_.erase(id);
      continue;
    }
    const auto json = answer.json();
    keep(json, read_run(json));
  }
  std::erase_if(runs_,
                [&](const auto& entry) { return entry.second.ended() && entry.second.created_us < now_us - span_us_; });
  return {};
}

void RunFeed::set_span(std::int64_t span_us) {
  if (span_us > span_us_) looked_us_ = 0;
  span_us_ = span_us;
}

std::vector<RunView> RunFeed::runs() const {
  std::vector<RunView> runs;
  for (const auto& [id, run] : runs_) runs.push_back(run);
  std::ranges::stable_sort(runs,
                           [](const auto& left, const auto& right) { return left.created_us > right.created_us; });
  return runs;
}

}  // namespace nanobox::inspection
