#include "actors/cluster/template_directory.hpp"

#include <algorithm>

#include "actors/serving_template.hpp"
#include "config/log.hpp"
#include "pipeline/json_text.hpp"

namespace nanobox {

namespace {

using Self = TemplateDirectoryActor::stateful_pointer<TemplateDirectoryState>;
using Node = TemplateDirectoryState::Node;
using Entry = TemplateDirectoryState::Entry;
constexpr std::chrono::seconds kAskDeadline{100};
constexpr std::string_view kPlacedTemplateKind = "placed_template";

bool is_connected(Self self, const std::string& node_id) {
  const auto node = self->state.nodes.find(node_id);
  return node != self->state.nodes.end() && node->second.connected;
}

/// Whether a node has the very version that the home made: what else it says of the template counts for nothing.
bool is_copy(const Template& there, const Template& at_home) {
  return there.usable() && at_home.usable() && is_same_version(there, at_home);
}

/// The home's version, as long as a node is there that has it.
Template current(Self self, const Entry& entry) {
  Template shown = entry.on_node.at(entry.home);
  if (is_connected(self, entry.home)) return shown;
  for (const auto& [node_id, there] : entry.on_node) {
    if (!is_connected(self, node_id) || !is_copy(there, shown)) continue;
    shown.status = TemplateStatus::ready;
    shown.error.reset();
    return shown;
  }
  shown.served = false;
  shown.status = TemplateStatus::failed;
  shown.error = Error{.code = ErrorCode::node_lost,
                      .attempted = "find template",
                      .subject = shown.name,
                      .reason = "the nodes that have it are lost",
                      .mend = "it is back when one of them is; or warm it up again"};
  return shown;
}

void show(Self self, const std::string& key) {
  auto& state = self->state;
  const auto found = state.entries.find(key);
  if (found == state.entries.end() || found->second.on_node.empty()) {
    state.entries.erase(key);
    state.control->boards->templates.erase(key);
    if (auto gone = delete_record(*state.control->store, kPlacedTemplateKind, key); !gone)
      log_error(LogComponent::cluster, {}, "{}", describe(gone.error()));
    return;
  }
  state.control->boards->templates.publish(key, current(self, found->second));
}

/// Where it is made and what it was, for a start without its nodes.
void store(Self self, const std::string& key) {
  const auto found = self->state.entries.find(key);
  if (found == self->state.entries.end()) return;
  const auto home = found->second.on_node.find(found->second.home);
  if (home == found->second.on_node.end()) return;
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "home", found->second.home);
  put_text(json, "template", to_record(home->second));
  json.EndObject();
  if (auto stored =
          put_record(*self->state.control->store, kPlacedTemplateKind, key, home->second.owner, buffer.GetString());
      !stored)
    log_error(LogComponent::cluster, {}, "{}", describe(stored.error()));
}

Result<void> load(Self self) {
  auto& state = self->state;
  for (const auto& record : NANOBOX_TRY(all_records(*state.control->store, kPlacedTemplateKind))) {
    rapidjson::Document json;
    json.Parse(record.value.data(), record.value.size());
    if (json.HasParseError() || !json.IsObject()) continue;
    const auto entry = template_from_record(text_at(json, "template"));
    if (!entry) continue;
    const auto home = text_at(json, "home");
    state.entries[record.key] = {.home = home, .on_node = {{home, *entry}}};
    show(self, record.key);
  }
  // What a former directory showed and did not store is told anew by its nodes.
  auto& board = state.control->boards->templates;
  for (const auto& shown : board.all())
    if (const auto key = template_key(shown->owner, shown->name); !state.entries.contains(key)) board.erase(key);
  return {};
}

/// Removes on a node a template that is none of the cluster's: it was away when it was removed, or nobody asked it.
void end_on(Self self, const std::string& node_id, const Template& stray) {
  log_warn(LogComponent::cluster, {{"template", stray.name}, {"node", node_id}},
           "template {}: node {} has it, which nobody knows of; it is removed there", stray.name, node_id);
  self->request(self->state.nodes.at(node_id).session, kAskDeadline, remove_atom_v, stray.owner, stray.name, true)
      .then([] {},
            [](caf::error& error) {
              log_warn(LogComponent::cluster, {}, "{}", describe(from_caf(error, "remove a template")));
            });
}

/// What a node says it has. A new version counts from the home alone, and from one that was asked to make it.
void take(Self self, const std::string& node_id, const Template& there) {
  auto& state = self->state;
  const auto key = template_key(there.owner, there.name);
  auto& makers = *state.control->template_makers;
  const auto maker = makers.find(key);
  const bool makes = maker && *maker == node_id;
  const auto known = state.entries.find(key);
  if (known == state.entries.end() && !makes && node_id != state.control->local_node_id)
    return end_on(self, node_id, there);
  auto& entry = state.entries[key];
  entry.on_node[node_id] = there;
  if (makes || entry.home.empty()) entry.home = node_id;
  show(self, key);
  if (makes) makers.erase(key);
  if (entry.home == node_id && (makes || there.status != TemplateStatus::running)) store(self, key);
}

/// Where it was the home, another that has the same version is it from now on.
void no_longer_on(Self self, const std::string& node_id, const std::string& key) {
  const auto found = self->state.entries.find(key);
  if (found == self->state.entries.end()) return;
  auto& entry = found->second;
  const auto left = entry.on_node.extract(node_id);
  if (entry.home == node_id) {
    const auto heir = std::ranges::find_if(
        entry.on_node, [&](const auto& other) { return !left.empty() && is_copy(other.second, left.mapped()); });
    if (heir == entry.on_node.end()) {
      entry.on_node.clear();
    } else {
      entry.home = heir->first;
      store(self, key);
    }
  }
  show(self, key);
}

/// Who makes a template that none is the home of: of the nodes that take something new the one with the most room.
Result<std::string> builder(Self self) {
  const Node* best = nullptr;
  for (const auto& [node_id, node] : self->state.nodes)
    if (node.connected && !node.status.cordoned && node.status.state != NodeState::draining &&
        (!best || best->status.beat.disk_free_mb < node.status.beat.disk_free_mb))
      best = &node;
  if (best) return best->status.node_id;
  return fail({.code = ErrorCode::no_capacity,
               .attempted = "find a node that makes the template",
               .subject = "",
               .reason = std::to_string(self->state.nodes.size()) + " nodes are known, and none of them takes new work",
               .mend = "GET /api/v1/nodes shows how they fare",
               .retry_after_sec = 5});
}

caf::result<WarmupAnswer> warmup(Self self, const WarmupRequest& request) {
  auto& state = self->state;
  const auto key = template_key(request.owner, request.name);
  const auto known = state.entries.find(key);
  std::string node_id;
  if (known != state.entries.end() && is_connected(self, known->second.home) &&
      !state.nodes.at(known->second.home).status.cordoned) {
    node_id = known->second.home;
  } else {
    auto chosen = builder(self);
    if (!chosen) return to_caf(chosen.error());
    node_id = std::move(*chosen);
  }
  auto& makers = *state.control->template_makers;
  makers.publish(key, node_id);
  Question<WarmupAnswer> question(*state.questions, self->make_response_promise<WarmupAnswer>());
  self->request(state.nodes.at(node_id).session, kAskDeadline, warmup_atom_v, request)
      .then(
          [self, question, key, node_id](WarmupAnswer& answer) mutable {
            auto& state = self->state;
            auto& entry = state.entries[key];
            entry.home = node_id;
            // The node's own word may come after this answer; readers find what it says from now on.
            auto& there = entry.on_node[node_id];
            if (there.operation_id != answer.operation_id) {
              const auto slash = key.rfind('/');
              there.owner = key.substr(0, slash);
              there.name = key.substr(slash + 1);
              there.operation_id = answer.operation_id;
              there.status = answer.status;
            }
            show(self, key);
            state.control->template_makers->erase(key);
            store(self, key);
            question.answer(std::move(answer));
          },
          [self, question, key](caf::error& error) mutable {
            self->state.control->template_makers->erase(key);
            question.answer(std::move(error));
          });
  return question.promise();
}

Result<void> check_removable(Self self, const std::string& owner, const std::string& name, bool force) {
  const auto& boards = *self->state.control->boards;
  if (!boards.templates.find(template_key(owner, name)))
    return fail({.code = ErrorCode::template_not_found,
                 .attempted = "remove template",
                 .subject = name,
                 .reason = "no template has that name",
                 .mend = "GET /api/v1/templates lists them"});
  const auto sandboxes = std::ranges::count_if(boards.sandboxes.all(), [&](const auto& sandbox) {
    return sandbox->template_name == name && sandbox->owner == owner;
  });
  if (sandboxes != 0 && !force)
    return fail({.code = ErrorCode::template_in_use,
                 .attempted = "remove template",
                 .subject = name,
                 .reason = std::to_string(sandboxes) + " sandboxes stand on it",
                 .mend = "end them first, or add ?force=1: the files then stay until the last of them is gone"});
  return {};
}

caf::result<void> remove(Self self, const std::string& owner, const std::string& name, bool force) {
  auto& state = self->state;
  if (auto removable = check_removable(self, owner, name, force); !removable) return to_caf(removable.error());
  const auto key = template_key(owner, name);
  const Question<void> question(*state.questions, self->make_response_promise<void>());
  const auto open = std::make_shared<std::size_t>(1);
  const auto failure = std::make_shared<std::optional<caf::error>>();
  // A node that is away has it removed when it comes back with it.
  const auto one_done = [self, key, question, open, failure] {
    if (--*open != 0) return;
    if (*failure) return question.answer(**failure);
    self->state.entries.erase(key);
    show(self, key);
    question.answer();
  };
  for (const auto& [node_id, there] : state.entries[key].on_node) {
    if (!is_connected(self, node_id)) continue;
    ++*open;
    self->request(state.nodes.at(node_id).session, kAskDeadline, remove_atom_v, owner, name, force)
        .then([one_done] { one_done(); },
              [one_done, failure](caf::error& error) {
                const auto why = from_caf(error, "remove template");
                if (why.code != ErrorCode::template_not_found && why.code != ErrorCode::node_lost)
                  *failure = std::move(error);
                one_done();
              });
  }
  one_done();
  return question.promise();
}

void departed(Self self, const std::string& node_id, Node& node) {
  node.connected = false;
  for (const auto& [key, entry] : self->state.entries)
    if (entry.on_node.contains(node_id)) self->state.control->boards->templates.publish(key, current(self, entry));
}

}  // namespace

TemplateDirectoryActor::behavior_type template_directory(Self self, SharedControl control) {
  self->state.control = std::move(control);
  self->state.questions.emplace(self, directory_died("template_directory"));
  // A session says its end to the registry; one that was killed, or whose registry died, says nothing.
  self->set_down_handler([self](const caf::down_msg& down) {
    for (auto& [node_id, node] : self->state.nodes)
      if (node.connected && node.session.address() == down.source) departed(self, node_id, node);
  });
  if (auto loaded = load(self); !loaded) log_error(LogComponent::cluster, {}, "{}", describe(loaded.error()));
  return {
      [self](warmup_atom, const WarmupRequest& request) { return warmup(self, request); },
      [self](remove_atom, const std::string& owner, const std::string& name, bool force) {
        return remove(self, owner, name, force);
      },
      [self](hello_atom, const NodeStatus& status, const NodeSessionActor& session,
             const std::vector<Template>& templates) -> caf::result<void> {
        auto& state = self->state;
        state.nodes[status.node_id] = {.status = status, .session = session, .connected = true};
        self->monitor(session);
        self->send(session, start_atom_v, NewsSinkActor(TemplateDirectoryActor(self)), true);
        std::set<std::string> there;
        for (const auto& entry : templates) {
          there.insert(template_key(entry.owner, entry.name));
          take(self, status.node_id, entry);
        }
        std::vector<std::string> elsewhere;
        for (const auto& [key, entry] : state.entries)
          if (entry.on_node.contains(status.node_id) && !there.contains(key)) elsewhere.push_back(key);
        for (const auto& key : elsewhere) no_longer_on(self, status.node_id, key);
        return caf::unit;
      },
      [self](node_atom, const NodeStatus& status) {
        const auto node = self->state.nodes.find(status.node_id);
        if (node != self->state.nodes.end()) node->second.status = status;
      },
      [self](lost_atom, const std::string& node_id, std::uint64_t epoch, const std::string&) {
        const auto node = self->state.nodes.find(node_id);
        if (node == self->state.nodes.end() || node->second.status.epoch != epoch) return;
        departed(self, node_id, node->second);
      },
      [self](remove_atom, const std::string& node_id, bool) {
        auto& state = self->state;
        state.nodes.erase(node_id);
        std::vector<std::string> there;
        for (const auto& [key, entry] : state.entries)
          if (entry.on_node.contains(node_id)) there.push_back(key);
        for (const auto& key : there) no_longer_on(self, node_id, key);
      },
      [self](news_atom, const std::string& node_id, std::uint64_t epoch, const NodeNews& news) {
        const auto node = self->state.nodes.find(node_id);
        if (node == self->state.nodes.end() || node->second.status.epoch != epoch || !node->second.connected) return;
        for (const auto& entry : news.templates) take(self, node_id, entry);
        for (const auto& key : news.gone_templates) no_longer_on(self, node_id, key);
      },
  };
}

}  // namespace nanobox
