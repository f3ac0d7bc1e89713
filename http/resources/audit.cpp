#include "actors/job.hpp"
#include "http/json/writer.hpp"
#include "http/resources/admin_only.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "pipeline/store/audit_trail.hpp"

namespace nanobox::http {

namespace {

constexpr std::chrono::seconds kFind{60};

/// RFC 3339 in UTC, with or without a fraction of a second.
Result<std::optional<WallTime>> time_parameter(const Request& request, std::string_view name) {
  const auto text = request.query_parameter(name);
  if (!text) return std::nullopt;
  auto time = from_rfc3339(*text);
  if (!time && text->ends_with('Z')) time = from_rfc3339(std::string(text->substr(0, text->size() - 1)) + ".000Z");
  if (time) return time;
  return fail(invalid_parameter("read the audit", "?" + std::string(name), "must be a time in UTC",
                                "write it as 2026-11-24T22:56:29Z"));
}

Result<AuditQuery> read_query(const Request& request) {
  NANOBOX_TRY(check_query(request, {"owner", "action", "subject", "since", "until", "order", "limit", "cursor"}));
  const auto page = NANOBOX_TRY(read_page(request));
  AuditQuery query;
  const auto text = [&](std::string_view name) -> std::optional<std::string> {
    const auto value = request.query_parameter(name);
    return value ? std::optional<std::string>(*value) : std::nullopt;
  };
  query.owner = text("owner");
  query.action = text("action");
  query.subject = text("subject");
  query.since = NANOBOX_TRY(time_parameter(request, "since"));
  query.until = NANOBOX_TRY(time_parameter(request, "until"));
  if (const auto order = request.query_parameter("order")) {
    if (*order != "asc" && *order != "desc")
      return fail(invalid_parameter("read the audit", "?order", "must be asc or desc", "leave it out for asc"));
    query.newest_first = *order == "desc";
  }
  query.behind = page.after;
  query.most = page.limit + 1;
  return query;
}

void put_text_or_null(json::Writer& json, std::string_view key, const std::string& text) {
  if (text.empty())
    json.null_field(key);
  else
    json.field(key, text);
}

void write(json::Writer& json, const AuditEntry& entry) {
  json.begin_object().field("id", entry.id).field("time", to_rfc3339(entry.time)).field("owner", entry.owner);
  put_text_or_null(json, "peer", entry.peer);
  json.field("request_id", entry.request_id).field("action", entry.action);
  put_text_or_null(json, "subject", entry.subject);
  json.field("method", entry.method).field("route", entry.route);
  if (entry.detail.empty())
    json.null_field("detail");
  else
    json.raw_field("detail", entry.detail);
  json.field("status", entry.status);
  put_text_or_null(json, "code", entry.code);
  json.field("duration_ms", entry.duration_ms).end_object();
}

std::string page_json(const std::vector<AuditEntry>& entries, std::size_t limit) {
  json::Writer json;
  json.begin_object().key("items").begin_array();
  for (std::size_t at = 0; at < entries.size() && at < limit; ++at) write(json, entries[at]);
  json.end_array();
  if (entries.size() > limit)
    json.field("next_cursor", make_cursor(entries[limit - 1].id));
  else
    json.null_field("next_cursor");
  json.end_object();
  return json.take();
}

void send(Api& api, const Request& request, Responder responder) {
  if (!admin_only(request, responder, "read the audit")) return;
  auto query = read_query(request);
  if (!query) return responder.send_problem(query.error());
  if (!api.audit)
    return responder.send_problem({.code = ErrorCode::conflict,
                                   .attempted = "read the audit",
                                   .subject = "",
                                   .reason = "this server keeps none",
                                   .mend = "set [audit] enabled = true and start it again"});
  auto shared = std::make_shared<Responder>(std::move(responder));
  api.system.spawn([shared, audit = api.audit, query = std::move(*query)](caf::event_based_actor* self) {
    request_job(
        self, kFind,
        [audit, query]() -> Result<std::string> { return page_json(NANOBOX_TRY(audit->find(query)), query.most - 1); })
        .then([shared](const std::string& page) { shared->send(200, page); },
              [shared](caf::error& error) { shared->send_problem(from_caf(error, "read the audit")); });
  });
}

}  // namespace

void add_audit_route(Router& router, Api& api) {
  router.add(Method::get, "/api/v1/audit",
             [&api](const Request& request, Responder responder) { send(api, request, std::move(responder)); });
}

}  // namespace nanobox::http
