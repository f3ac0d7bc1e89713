#include <algorithm>

#include "http/pagination.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"

namespace nanobox::http {

namespace {

template <class P>
PipelineDescription description(std::string_view name) {
  const auto stages = P::describe();
  return {.name = name, .stages = {stages.begin(), stages.end()}};
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
    if (auto known = check_query(request, {"kind", "status", "limit", "cursor"}); !known)
      return responder.send_problem(known.error());
    const auto page = read_page(request);
    if (!page) return responder.send_problem(page.error());
    const auto kind = request.query_parameter("kind"), status = request.query_parameter("status");
    std::vector<std::shared_ptr<const RunRecord>> runs;
    for (auto& run : api.boards().runs.all())
      if (run->owner == request.owner && (!kind || *kind == run->pipeline) &&
          (!status || *status == to_string(run->status)))
        runs.push_back(std::move(run));
    responder.send(
        200, list_json(
                 runs, *page, [](const auto& run) { return run->id; }, [](const auto& run) { return to_json(*run); }));
  });
  router.add(Method::get, "/api/v1/pipelines/runs/{id}", [&api](const Request& request, Responder responder) {
    const auto run = api.boards().runs.find(std::string(request.param("id")));
    if (!run || run->owner != request.owner)
      return responder.send_problem({.code = ErrorCode::run_not_found,
                                     .attempted = "find run",
                                     .subject = std::string(request.param("id")),
                                     .reason = "it is not known, or not any more",
                                     .mend = "GET /api/v1/pipelines/runs lists the latest 1000"});
    responder.send(200, to_json(*run));
  });
}

}  // namespace nanobox::http
