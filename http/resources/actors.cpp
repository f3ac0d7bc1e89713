#include <algorithm>

#include "actors/concern_reports.hpp"
#include "http/json/writer.hpp"
#include "http/resources/admin_only.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"

namespace nanobox::http {

namespace {

/// A concern where it runs: on a node, or on the control plane, which is none.
struct PlacedConcern {
  std::string id;
  std::optional<std::string> node_id;
  ConcernReport report;
};

void place(std::vector<PlacedConcern>& into, const std::optional<std::string>& node_id,
           const std::vector<ConcernReport>& reports) {
  for (const auto& report : reports)
    into.push_back({.id = node_id.value_or("control") + "/" + report.concern, .node_id = node_id, .report = report});
}

std::string actor_json(const PlacedConcern& actor) {
  const auto& report = actor.report;
  const auto home = actor.node_id.value_or("control");
  json::Writer json;
  json.begin_object()
      .field("id", actor.id)
      .field("node_id", actor.node_id)
      .field("concern", report.concern)
      .field("parent", report.parent.empty() ? home : home + "/" + report.parent)
      .field("mailbox", report.mailbox)
      .field("wait_us", report.wait_us)
      .field("handled", report.handled)
      .field("restarts", report.restarts)
      .field("last_error", report.last_error.empty() ? std::nullopt : std::optional(report.last_error))
      .field("unsteady", report.unsteady)
      .field("count", report.count)
      .end_object();
  return json.take();
}

}  // namespace

void add_actor_routes(Router& router, Api& api) {
  router.add(Method::get, "/api/v1/actors", [&api](const Request& request, Responder responder) {
    if (!admin_only(request, responder, "look at the actors")) return;
    if (auto known = check_query(request, {"limit", "cursor"}); !known) return responder.send_problem(known.error());
    const auto page = read_page(request);
    if (!page) return responder.send_problem(page.error());
    std::vector<PlacedConcern> actors;
    place(actors, std::nullopt, concern_reports(api.boards()));
    for (const auto& node : api.boards().nodes.all())
      if (node->state != NodeState::lost) place(actors, node->node_id, node->beat.concerns);
    std::ranges::sort(actors, {}, &PlacedConcern::id);
    responder.send(200, list_json(
                            actors, *page, [](const auto& actor) { return actor.id; },
                            [](const auto& actor) { return actor_json(actor); }));
  });
}

}  // namespace nanobox::http
