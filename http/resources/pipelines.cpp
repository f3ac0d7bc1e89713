#include <algorithm>

#include "http/pagination.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "http/resources/time_parameter.hpp"

namespace nanobox::http {

namespace {

template <class P>
PipelineDescription description(std::string_view name) {
  const auto stages = P::describe();
  return {.name = name, .stages = {stages.begin(), stages.end()}};
}

/// Which runs are asked for. Views of the request.
struct RunFilter {
  std::optional<std::string_view> kind, status, subject, node_id, owner;
  std::optional<WallTime> since;
  ListOrder order = ListOrder::ascending;

  bool takes(const RunRecord& run) const {
    return (!owner || *owner == run.owner) && (!kind || *kind == run.pipeline) &&
           (!status || *status == to_string(run.status)) && (!subject || *subject == run.subject) &&
           (!node_id || *node_id == run.node_id) && (!since || run.created_at >= *since);
  }
};

/// Whether runs of all owners are asked for, which only the administrator may.
Result<bool> wants_all(const Request& request) {
  const auto all = request.query_parameter("all");
  if (!all || *all == "0") return false;
  if (*all != "1") return fail(invalid_parameter("read query", "?all", "must be 0 or 1", ""));
  if (request.is_admin) return true;
  return fail({.code = ErrorCode::forbidden,
               .attempted = "look at all owners' runs",
               .subject = "",
               .reason = "this is the administrator's",
               .mend = "use the administrator's key, or leave out ?all"});
}

Result<RunFilter> read_filter(const Request& request) {
  NANOBOX_TRY(
      check_query(request, {"kind", "status", "subject", "node_id", "since", "order", "all", "limit", "cursor"}));
  RunFilter filter{.kind = request.query_parameter("kind"),
                   .status = request.query_parameter("status"),
                   .subject = request.query_parameter("subject"),
                   .node_id = request.query_parameter("node_id"),
                   .owner = request.owner,
                   .since = NANOBOX_TRY(time_parameter(request, "since"))};
  if (NANOBOX_TRY(wants_all(request))) filter.owner.reset();
  const auto order = request.query_parameter("order").value_or("asc");
  if (order != "asc" && order != "desc")
    return fail(invalid_parameter("read query", "?order", "must be asc or desc", ""));
  if (order == "desc") filter.order = ListOrder::descending;
  return filter;
}

}  // namespace

void add_pipeline_routes(Router& router, Api& api) {
  router.add(Method::get, "/api/v1/pipelines", [](Request, Responder responder) {
    responder.send(200, "{\"items\":[" + to_json(description<WarmupPipeline>("warmup")) + "," +
                            to_json(description<BootPipeline>("boot")) + "," +
                            to_json(PipelineDescription{"pause", {pause_stages.begin(), pause_stages.end()}}) + "," +
                            to_json(PipelineDescription{"fork", {fork_stages.begin(), fork_stages.end()}}) +
                            "],\"next_cursor\":null}");
  });
  router.add(Method::get, "/api/v1/pipelines/runs", [&api](const Request& request, Responder responder) {
    const auto filter = read_filter(request);
    if (!filter) return responder.send_problem(filter.error());
    const auto page = read_page(request);
    if (!page) return responder.send_problem(page.error());
    auto runs = api.boards().runs.all();
    std::erase_if(runs, [&](const auto& run) { return !filter->takes(*run); });
    if (filter->order == ListOrder::descending) std::ranges::reverse(runs);
    responder.send(200, list_json(
                            runs, *page, [](const auto& run) { return run->id; },
                            [](const auto& run) { return to_json(*run); }, filter->order));
  });
  router.add(Method::get, "/api/v1/pipelines/runs/{id}", [&api](const Request& request, Responder responder) {
    const auto all = wants_all(request);
    if (!all) return responder.send_problem(all.error());
    const auto run = api.boards().runs.find(std::string(request.param("id")));
    if (!run || (run->owner != request.owner && !*all))
      return responder.send_problem({.code = ErrorCode::run_not_found,
                                     .attempted = "find run",
                                     .subject = std::string(request.param("id")),
                                     .reason = "it is not known, or not any more",
                                     .mend = "GET /api/v1/pipelines/runs lists the latest"});
    responder.send(200, to_json(*run));
  });
}

}  // namespace nanobox::http
