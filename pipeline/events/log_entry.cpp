#include "pipeline/events/log_entry.hpp"

#include <rapidjson/document.h>

#include <algorithm>
#include <array>

namespace nanobox {

namespace {

struct Weight {
  std::string_view type;
  LogLevel level;
};
/// Of what is not info.
constexpr std::array kWeights = {
    Weight{"sandbox.creating", LogLevel::debug},     Weight{"sandbox.pausing", LogLevel::debug},
    Weight{"sandbox.stopping", LogLevel::debug},     Weight{"template.queued", LogLevel::debug},
    Weight{"template.running", LogLevel::debug},     Weight{"sandbox.failed", LogLevel::warn},
    Weight{"sandbox.lost", LogLevel::warn},          Weight{"template.failed", LogLevel::warn},
    Weight{"node.unready", LogLevel::warn},          Weight{"node.lost", LogLevel::warn},
    Weight{"supervision.restarted", LogLevel::warn}, Weight{"capacity.refused", LogLevel::warn},
};

LogLevel level_of(std::string_view type) {
  const auto found = std::ranges::find(kWeights, type, &Weight::type);
  return found == kWeights.end() ? LogLevel::info : found->level;
}

/// A text or number of the event's data; empty where there is none.
std::string of(const rapidjson::Document& data, const char* key) {
  if (!data.IsObject()) return {};
  const auto found = data.FindMember(key);
  const bool there = found != data.MemberEnd();
  if (!there) return {};
  if (found->value.IsString()) return {found->value.GetString(), found->value.GetStringLength()};
  return found->value.IsInt64() ? std::to_string(found->value.GetInt64()) : std::string();
}

/// "running", with the reason where there is one.
std::string said(std::string_view what, const std::string& reason) {
  return std::string(what) + (reason.empty() ? "" : ": " + reason);
}

}  // namespace

LogEntry log_entry(const NewEvent& event) {
  const std::string_view type = event.type;
  const auto dot = std::min(type.find('.'), type.size());
  const auto thing = type.substr(0, dot), what = type.substr(std::min(dot + 1, type.size()));
  rapidjson::Document data;
  data.Parse(event.data.data(), event.data.size());
  LogEntry entry{.level = level_of(type),
                 .message = said(thing == "sandbox" ? std::string(what) : std::string(thing) + " " + std::string(what),
                                 of(data, "reason")),
                 .node = event.node_id,
                 .owner = event.owner,
                 .code = of(data, "code")};
  if (thing == "sandbox") {
    entry.component = LogComponent::sandbox;
    entry.sandbox = event.subject;
    entry.template_name = of(data, "template");
    entry.cause = of(data, "cause");
    if (what == "running") {
      entry.boot_path = of(data, "boot_path");
      entry.boot_time_ms = of(data, "boot_time_ms");
    }
  } else if (thing == "template") {
    entry.component = LogComponent::warmup;
    entry.template_name = event.subject;
    entry.run = of(data, "operation_id");
  } else if (thing == "node") {
    entry.component = LogComponent::cluster;
  } else if (thing == "supervision") {
    entry.component = LogComponent::node;
    entry.message = said(of(data, "concern") + " died and was started again", of(data, "reason"));
  }
  return entry;
}

LogEntry failed_run_entry(const RunRecord& run) {
  const auto stage = std::ranges::find(run.stages, StageStatus::failed, &StageRecord::status);
  std::string message = run.pipeline + " failed";
  if (stage != run.stages.end()) {
    message += " in stage " + stage->name;
    if (stage->attempts > 1) message += " after " + std::to_string(stage->attempts) + " attempts";
  }
  const auto why = run.error ? describe(*run.error) : "";
  message = said(message, why);
  if (stage != run.stages.end() && stage->error)
    if (const auto cause = describe(*stage->error); cause != why) message += ": " + cause;
  const bool of_template = run.pipeline == "warmup";
  return {.component = of_template ? LogComponent::warmup : LogComponent::sandbox,
          .level = LogLevel::warn,
          .message = std::move(message),
          .sandbox = of_template ? "" : run.subject,
          .template_name = of_template ? run.subject : "",
          .node = run.node_id,
          .run = run.id,
          .owner = run.owner,
          .code = run.error ? std::string(to_string(run.error->code)) : ""};
}

void write_log(const LogEntry& entry) {
  if (!logs(entry.component, entry.level)) return;
  write_log(entry.component, entry.level,
            {{"sandbox", entry.sandbox},
             {"template", entry.template_name},
             {"node", entry.node},
             {"run", entry.run},
             {"owner", entry.owner},
             {"code", entry.code},
             {"cause", entry.cause},
             {"boot_path", entry.boot_path},
             {"boot_time_ms", entry.boot_time_ms}},
            entry.message);
}

}  // namespace nanobox
