#include "pipeline/events/change_log.hpp"

namespace nanobox {

namespace {

void describe(EventData& data, const Sandbox& sandbox, const std::string& reason) {
  data.text("reason", reason).text("template", sandbox.template_name).text("boot_path", sandbox.boot_path);
  if (sandbox.boot_time_ms)
    data.number("boot_time_ms", *sandbox.boot_time_ms);
  else
    data.null("boot_time_ms");
}

NewEvent about(const Sandbox& sandbox, std::string_view what, std::string data) {
  return {.type = "sandbox." + std::string(what),
          .subject = sandbox.id,
          .node_id = sandbox.node_id,
          .owner = sandbox.owner,
          .data = std::move(data)};
}

NewEvent ended(const Sandbox& last, const SandboxDeath* death) {
  EventData data;
  describe(data, last, death != nullptr ? death->reason : last.reason);
  data.text("cause", death != nullptr ? to_string(death->cause) : "");
  return about(last, "ended", data.take());
}

NewEvent about(const NodeStatus& node, std::string_view what) {
  return {.type = "node." + std::string(what),
          .subject = node.node_id,
          .node_id = node.node_id,
          .owner = "",
          .data = EventData().text("reason", node.reason).take()};
}

NewEvent restarted(const std::string& node_id, const std::string& concern, std::uint64_t restarts,
                   const std::string& reason) {
  return {.type = "supervision.restarted",
          .subject = (node_id.empty() ? "control" : node_id) + "/" + concern,
          .node_id = node_id,
          .owner = "",
          .data = EventData()
                      .text("concern", concern)
                      .text("reason", reason)
                      .number("restarts", static_cast<std::int64_t>(restarts))
                      .take()};
}

NewEvent about_entry(const std::string& owner, const std::string& name, const std::string& type,
                     const std::string& node_id, const std::string& image, const std::string& operation_id,
                     const std::string& reason) {
  return {.type = type,
          .subject = name,
          .node_id = node_id,
          .owner = owner,
          .data = EventData().text("reason", reason).text("image", image).text("operation_id", operation_id).take()};
}

}  // namespace

ChangeLog::Events ChangeLog::sandbox(const Sandbox& now) {
  const auto [known, is_new] = sandboxes_.try_emplace(now.id, now);
  const bool same = !is_new && known->second.status == now.status;
  known->second = now;
  if (same || (is_new && now.created_at < begun_)) return {};
  EventData data;
  describe(data, now, now.reason);
  return {about(now, to_string(now.status), data.take())};
}

ChangeLog::Events ChangeLog::sandbox_gone(const std::string& id, const SandboxDeath* death, Clock::time_point now) {
  const auto known = sandboxes_.find(id);
  if (known == sandboxes_.end()) return {};
  const auto last = std::move(known->second);
  sandboxes_.erase(known);
  if (death != nullptr) return {ended(last, death)};
  ending_.emplace(id, Ending{.last = last, .give_up = now + kCauseWait});
  return {};
}

ChangeLog::Events ChangeLog::death(const SandboxDeath& death) {
  const auto ending = ending_.extract(death.id);
  if (ending.empty()) return {};
  return {ended(ending.mapped().last, &death)};
}

ChangeLog::Events ChangeLog::late_ends(Clock::time_point now) {
  Events events;
  for (auto ending = ending_.begin(); ending != ending_.end();) {
    if (ending->second.give_up > now) {
      ++ending;
      continue;
    }
    events.push_back(ended(ending->second.last, nullptr));
    ending = ending_.erase(ending);
  }
  return events;
}

ChangeLog::Events ChangeLog::entry(const Template& now) {
  const auto [known, is_new] = entries_.try_emplace({now.owner, now.name});
  auto& entry = known->second;
  const bool same_run = entry.operation_id == now.operation_id;
  auto type = "template." + std::string(to_string(now.status));
  // A run says that it is running before the template does.
  const bool told =
      same_run && (entry.told == type || (entry.told == "template.running" && now.status == TemplateStatus::queued));
  const bool was_before = is_new && now.updated_at < begun_;
  if (!told) entry.told = type;
  entry.operation_id = now.operation_id;
  entry.image = now.image;
  if (told || was_before) return {};
  return {about_entry(now.owner, now.name, type, entry.node_id, now.image, now.operation_id,
                      now.error ? describe(*now.error) : "")};
}

ChangeLog::Events ChangeLog::entry_gone(const std::string& owner, const std::string& name) {
  const auto gone = entries_.extract({owner, name});
  if (gone.empty()) return {};
  const auto& entry = gone.mapped();
  return {about_entry(owner, name, "template.removed", "", entry.image, entry.operation_id, "")};
}

ChangeLog::Events ChangeLog::run(const RunRecord& run) {
  if (run.pipeline != "warmup" || run.status != RunStatus::running) return {};
  const auto known = entries_.find({run.owner, run.subject});
  if (known == entries_.end() || known->second.operation_id != run.id || known->second.told != "template.queued")
    return {};
  auto& entry = known->second;
  entry.told = "template.running";
  entry.node_id = run.node_id;
  return {about_entry(run.owner, run.subject, entry.told, run.node_id, entry.image, run.id, "")};
}

void ChangeLog::node_concerns(const NodeStatus& now, Known& known, Events& events) {
  // The first beat says what was before.
  const bool first = known.restarts.empty();
  for (const auto& report : now.beat.concerns) {
    auto& restarts = known.restarts[report.concern];
    if (!first && report.restarts > restarts)
      events.push_back(restarted(now.node_id, report.concern, report.restarts, report.last_error));
    restarts = report.restarts;
  }
}

ChangeLog::Events ChangeLog::node(const NodeStatus& now) {
  Events events;
  const auto [known, is_new] = nodes_.try_emplace(now.node_id);
  const bool was_before = is_new && now.joined_at < begun_;
  if (is_new && !was_before) events.push_back(about(now, "joined"));
  // One that has just joined has not been there yet.
  const bool changed = is_new ? !was_before && now.state != NodeState::lost : known->second.state != now.state;
  known->second.state = now.state;
  if (changed) events.push_back(about(now, to_string(now.state)));
  node_concerns(now, known->second, events);
  return events;
}

ChangeLog::Events ChangeLog::node_gone(const std::string& node_id) {
  if (nodes_.erase(node_id) == 0) return {};
  NodeStatus gone;
  gone.node_id = node_id;
  return {about(gone, "removed")};
}

ChangeLog::Events ChangeLog::concern(const std::string& name, std::uint64_t restarts, const std::string& reason) {
  auto& known = restarts_[name];
  if (restarts <= known) return {};
  known = restarts;
  return {restarted("", name, restarts, reason)};
}

std::vector<std::string> ChangeLog::sandboxes() const {
  std::vector<std::string> ids;
  for (const auto& [id, sandbox] : sandboxes_) ids.push_back(id);
  return ids;
}

std::vector<std::pair<std::string, std::string>> ChangeLog::entries() const {
  std::vector<std::pair<std::string, std::string>> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

std::vector<std::string> ChangeLog::nodes() const {
  std::vector<std::string> ids;
  for (const auto& [id, node] : nodes_) ids.push_back(id);
  return ids;
}

}  // namespace nanobox
