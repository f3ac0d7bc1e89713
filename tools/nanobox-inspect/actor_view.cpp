#include "tools/nanobox-inspect/actor_view.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "tools/nanobox-inspect/grid.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/listing.hpp"

namespace nanobox::inspection {

using namespace cli;

ActorView read_actor(const rapidjson::Value& json) {
  return {.id = json_text(json, "id"),
          .node_id = json_text(json, "node_id"),
          .concern = json_text(json, "concern"),
          .parent = json_text(json, "parent"),
          .mailbox = json_number(json, "mailbox"),
          .wait_us = json_number(json, "wait_us"),
          .handled = json_number(json, "handled"),
          .restarts = json_number(json, "restarts"),
          .last_error = json_text(json, "last_error"),
          .unsteady = json_flag(json, "unsteady"),
          .count = json_number(json, "count", 1)};
}

Result<std::vector<ActorView>> fetch_actors(ApiClient& client) {
  std::vector<ActorView> actors;
  auto done = each_item(client, "/api/v1/actors", [&](const auto& json) { actors.push_back(read_actor(json)); });
  if (done) return actors;
  auto error = std::move(done).error();
  if (error.code == ErrorCode::route_not_found) {
    error.reason = "this server does not tell of its actors: it is older than GET /api/v1/actors";
    error.mend = "update the server; everything else works with this one";
  } else if (error.code == ErrorCode::forbidden) {
    error.mend = "actors are shown to the admin's key only: give it as NANOBOX_KEY";
  }
  return fail(std::move(error));
}

std::vector<std::string> actor_tree(Style style, const std::vector<ActorView>& actors, std::size_t columns) {
  Grid grid({{.head = "ACTOR", .shrinks_to = 30},
             {.head = "MAILBOX", .right = true},
             {.head = "WAIT", .right = true},
             {.head = "HANDLED", .right = true},
             {.head = "RESTARTS", .right = true},
             {.head = "LAST ERROR", .shrinks_to = 8}});
  std::map<std::string, std::vector<const ActorView*>> children;
  std::set<std::string> ids;
  for (const auto& actor : actors) {
    children[actor.parent].push_back(&actor);
    ids.insert(actor.id);
  }
  std::set<const ActorView*> shown;
  const std::function<void(const ActorView&, const std::string&, bool)> show =
      [&](const ActorView& actor, const std::string& before, bool is_last) {
        // A server that says two hold each other must not keep us.
        if (!shown.insert(&actor).second) return;
        const auto branch = style.unicode ? (is_last ? "└─ " : "├─ ") : (is_last ? "`- " : "|- ");
        const auto many = actor.count != 1 ? " x" + std::to_string(actor.count) : "";
        const auto trouble = actor.unsteady ? "unsteady; " : "";
        grid.add({{before + branch + actor.concern + many, actor.unsteady ? ink::red : ink::none},
                  {std::to_string(actor.mailbox), actor.mailbox > 0 ? ink::yellow : ink::none},
                  {span_text(actor.wait_us)},
                  {std::to_string(actor.handled)},
                  {std::to_string(actor.restarts), actor.restarts > 0 ? ink::yellow : ink::none},
                  {actor.last_error.empty() && !actor.unsteady ? "" : trouble + actor.last_error,
                   actor.last_error.empty() ? ink::none : ink::red}});
        const auto below = children.find(actor.id);
        if (below == children.end()) return;
        const auto indent = before + (is_last ? "   " : style.unicode ? "│  " : "|  ");
        for (const auto* child : below->second) show(*child, indent, child == below->second.back());
      };
  for (const auto& [root, list] : children) {
    if (ids.contains(root)) continue;
    grid.add({{root.empty() ? "?" : root, ink::bold}});
    for (const auto* actor : list) show(*actor, "", actor == list.back());
  }
  for (const auto& actor : actors)
    if (!shown.contains(&actor)) show(actor, "", true);
  return grid.lines(style, columns);
}

}  // namespace nanobox::inspection
