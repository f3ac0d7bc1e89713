#include "actors/concern_reports.hpp"

#include <algorithm>

#include "config/utf8.hpp"

namespace nanobox {

namespace {

/// A reason may quote a console.
constexpr std::size_t kReasonMax = 1024;

std::string shortened(std::string text) {
  if (text.size() <= kReasonMax) return text;
  text.resize(kReasonMax);
  text.resize(utf8_before_cut(text));
  return text;
}

ConcernReport report_of(const ConcernHealth& health) {
  ConcernReport report{.concern = health.concern, .parent = {}, .restarts = health.restarts, .last_error = {}};
  report.last_error = shortened(health.reason);
  report.unsteady = health.unsteady_until && *health.unsteady_until > std::chrono::steady_clock::now();
  if (!health.gauge) return report;
  const std::uint64_t handed = health.gauge->handed;
  report.mailbox = health.gauge->mailbox;
  report.wait_us = health.gauge->wait_us;
  report.handled = handed - std::min(handed, report.mailbox);
  return report;
}

/// Each sandbox that can run has a supervisor of its machine, and so has each that waits in a pool.
std::size_t count_machines(const Boards& boards) {
  std::size_t count = 0;
  for (const auto& sandbox : boards.sandboxes.all())
    count += sandbox->status == SandboxStatus::running || sandbox->status == SandboxStatus::pausing ? 1 : 0;
  for (const auto& pool : boards.pools.all()) count += pool->ready;
  return count;
}

}  // namespace

std::vector<ConcernReport> concern_reports(const Boards& boards) {
  std::vector<ConcernReport> reports;
  for (const auto& health : boards.concerns.all()) reports.push_back(report_of(*health));
  return reports;
}

std::vector<ConcernReport> concern_reports(const Boards& boards, const ManyActors& many) {
  auto reports = concern_reports(boards);
  const auto add = [&](const char* concern, const char* parent, std::size_t count) {
    ConcernReport report{.concern = concern, .parent = parent, .last_error = {}};
    report.count = count;
    reports.push_back(std::move(report));
  };
  add("boot_run", "sandbox_registry", many.boot_runs);
  add("vm_supervisor", "node_agent", count_machines(boards));
  add("warmup_run", "template_registry", many.warmup_runs);
  return reports;
}

}  // namespace nanobox
