#include "http/json/writer.hpp"
#include "http/resources/admin_only.hpp"
#include "http/resources/api.hpp"
#include "pipeline/events/webhook.hpp"

namespace nanobox::http {

namespace {

void write(json::Writer& json, const WebhookQueue& queue) {
  const auto status = queue.status();
  json.begin_object().field("url", queue.hook().url).key("types").begin_array();
  for (const auto& type : queue.hook().types) json.value(type);
  json.end_array()
      .field("pending", status.pending)
      .field("delivered", status.delivered)
      .field("failed_attempts", status.failed_attempts)
      .field("dead_letters", status.dead_letters)
      .field("last_error", status.last_error.empty() ? std::nullopt : std::optional(status.last_error))
      .field("last_delivered_at",
             status.last_delivered_at ? std::optional(to_rfc3339(*status.last_delivered_at)) : std::nullopt)
      .end_object();
}

}  // namespace

void add_webhook_route(Router& router, Api& api) {
  router.add(Method::get, "/api/v1/webhooks", [&api](const Request& request, Responder responder) {
    if (!admin_only(request, responder, "look at the webhooks")) return;
    if (auto known = check_query(request, {}); !known) return responder.send_problem(known.error());
    json::Writer json;
    json.begin_object().key("items").begin_array();
    for (const auto& queue : api.webhooks) write(json, *queue);
    json.end_array().null_field("next_cursor").end_object();
    responder.send(200, json.take());
  });
}

}  // namespace nanobox::http
