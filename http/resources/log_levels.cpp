#include "http/resources/log_levels.hpp"

#include "config/log_levels.hpp"
#include "http/json/document.hpp"
#include "http/json/reader.hpp"
#include "http/json/writer.hpp"
#include "http/resources/admin_only.hpp"
#include "http/resources/ask.hpp"

namespace nanobox::http {

namespace {

std::optional<LogLevel> read_level(json::ObjectReader& reader, std::string_view name) {
  const auto level = reader.choice(name, {"trace", "debug", "info", "warn", "error", "off"});
  return level ? log_level_named(*level) : std::nullopt;
}

LogComponent component_at(std::size_t index) {
  return static_cast<LogComponent>(index);
}

std::string levels_json() {
  const auto now = log_levels();
  json::Writer json;
  json.begin_object().field("level", to_string(now.level));
  json.key("levels").begin_object();
  for (const auto& [component, level] : now.own) json.field(to_string(component), to_string(level));
  json.end_object();
  json.key("components").begin_array();
  for (std::size_t i = 0; i < kLogComponents; ++i) json.value(to_string(component_at(i)));
  json.end_array().end_object();
  return json.take();
}

/// What is not said stays: the level of all, or those of components, which are replaced together.
Result<LogLevels> read_levels(const Request& request) {
  const auto body = NANOBOX_TRY(json::parse_body(request));
  json::Complaints complaints;
  json::ObjectReader reader(body, complaints);
  auto wanted = log_levels();
  if (const auto level = read_level(reader, "level")) wanted.level = *level;
  if (reader.has("levels")) wanted.own.clear();
  reader.object("levels", [&](json::ObjectReader& levels) {
    for (std::size_t i = 0; i < kLogComponents; ++i)
      if (const auto level = read_level(levels, to_string(component_at(i)))) wanted.own[component_at(i)] = *level;
  });
  reader.finish();
  NANOBOX_TRY(complaints.result());
  return wanted;
}

void send_levels(const Request& request, Responder responder) {
  if (!admin_only(request, responder, "see the log's levels")) return;
  if (auto known = check_query(request, {}); !known) return responder.send_problem(known.error());
  responder.send(200, levels_json());
}

void change_levels(const Request& request, Responder responder) {
  if (!admin_only(request, responder, "set the log's levels")) return;
  if (auto known = check_query(request, {}); !known) return responder.send_problem(known.error());
  const auto wanted = read_levels(request);
  if (!wanted) return responder.send_problem(wanted.error());
  set_log_levels(*wanted);
  responder.send(200, levels_json());
}

}  // namespace

void add_log_level_routes(Router& router) {
  router.add(Method::get, "/api/v1/log",
             [](const Request& request, Responder responder) { send_levels(request, std::move(responder)); });
  router.add(Method::put, "/api/v1/log",
             [](const Request& request, Responder responder) { change_levels(request, std::move(responder)); });
}

}  // namespace nanobox::http
