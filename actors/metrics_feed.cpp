#include "actors/metrics_feed.hpp"

#include "actors/concern_reports.hpp"

namespace nanobox {

namespace {

bool has_pool(const Boards& boards, const Sandbox& sandbox) {
  for (const auto& node : boards.nodes.all())
    for (const auto& pool : node->pools)
      if (pool.min_ready > 0 && pool.template_name == sandbox.template_name && pool.owner == sandbox.owner) return true;
  return false;
}

}  // namespace

MetricsFeed::MetricsFeed(Boards& boards, std::string version) : boards_(boards), metrics_(std::move(version)) {
  metrics_.add([this] { return collect(); });
  runs_ = boards.runs.watch_all([this](const std::string&, const auto& run) {
    if (run) metrics_.runs().take(*run);
  });
  sandboxes_ = boards.sandboxes.watch_all([this](const std::string& id, const auto& sandbox) {
    if (sandbox)
      metrics_.sandboxes().take(*sandbox, [this](const Sandbox& begun) { return has_pool(boards_, begun); });
    else
      metrics_.sandboxes().gone(id);
  });
  deaths_ = boards.deaths.watch_all([this](const std::string&, const auto& death) {
    if (death) metrics_.sandboxes().take(*death);
  });
}

std::vector<prometheus::MetricFamily> MetricsFeed::collect() {
  return cluster_families({.sandboxes = boards_.sandboxes.all(),
                           .templates = boards_.templates.all(),
                           .nodes = boards_.nodes.all(),
                           .control_concerns = concern_reports(boards_)},
                          names_);
}

}  // namespace nanobox
