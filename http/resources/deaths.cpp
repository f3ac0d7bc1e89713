#include "http/resources/deaths.hpp"

#include <algorithm>

#include "http/pagination.hpp"
#include "http/resources/ask.hpp"

namespace nanobox::http {

namespace {

constexpr DeathCause kCauses[] = {DeathCause::asked,         DeathCause::expired,      DeathCause::vm_exit,
                                  DeathCause::out_of_memory, DeathCause::kernel_panic, DeathCause::node_lost,
                                  DeathCause::shutdown,      DeathCause::failed};

void show_death(Api& api, const Request& request, Responder responder) {
  if (auto known = check_query(request, {}); !known) return responder.send_problem(known.error());
  const std::string id(request.param("id"));
  const auto sandbox = api.boards().sandboxes.find(id);
  if (sandbox && sandbox->owner == request.owner && sandbox->status != SandboxStatus::failed)
    return responder.send_problem({.code = ErrorCode::conflict,
                                   .attempted = "tell why a sandbox ended",
                                   .subject = id,
                                   .reason = "it has not: it is " + std::string(to_string(sandbox->status)),
                                   .mend = "GET /api/v1/sandboxes/" + id + " shows it"});
  const auto death = api.boards().deaths.find(id);
  if (!death || death->owner != request.owner)
    return responder.send_problem({.code = ErrorCode::sandbox_not_found,
                                   .attempted = "tell why a sandbox ended",
                                   .subject = id,
                                   .reason = "none of that id ended in the last hour",
                                   .mend = "GET /api/v1/deaths lists those that did"});
  responder.send(200, to_json(*death));
}

void list_deaths(Api& api, const Request& request, Responder responder) {
  if (auto known = check_query(request, {"cause", "template", "limit", "cursor"}); !known)
    return responder.send_problem(known.error());
  const auto page = read_page(request);
  if (!page) return responder.send_problem(page.error());
  const auto cause = request.query_parameter("cause"), from = request.query_parameter("template");
  if (cause && std::ranges::none_of(kCauses, [&](DeathCause known) { return to_string(known) == *cause; }))
    return responder.send_problem(
        invalid_parameter("list ended sandboxes", "?cause",
                          "must be asked, expired, vm_exit, out_of_memory, kernel_panic, node_lost, shutdown or failed",
                          "leave it out for all"));
  std::vector<std::shared_ptr<const SandboxDeath>> deaths;
  for (auto& death : api.boards().deaths.all())
    if (death->owner == request.owner && (!cause || *cause == to_string(death->cause)) &&
        (!from || *from == death->template_name))
      deaths.push_back(std::move(death));
  responder.send(200, list_json(
                          deaths, *page, [](const auto& death) { return death->id; },
                          [](const auto& death) { return to_json(*death); }));
}

}  // namespace

Error sandbox_not_there(const Api& api, const Request& request) {
  const std::string id(request.param("id"));
  auto error = no_such_sandbox(id);
  if (const auto death = api.boards().deaths.find(id); death && death->owner == request.owner)
    error.mend = "it has ended: GET /api/v1/sandboxes/" + id + "/death says why";
  return error;
}

void add_death_routes(Router& router, Api& api) {
  router.add(Method::get, "/api/v1/sandboxes/{id}/death",
             [&api](const Request& request, Responder responder) { show_death(api, request, std::move(responder)); });
  router.add(Method::get, "/api/v1/deaths",
             [&api](const Request& request, Responder responder) { list_deaths(api, request, std::move(responder)); });
}

}  // namespace nanobox::http
