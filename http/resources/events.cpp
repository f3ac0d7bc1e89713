#include <caf/event_based_actor.hpp>
#include <caf/stateful_actor.hpp>

#include "actors/messages.hpp"
#include "config/id.hpp"
#include "http/json/writer.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "http/resources/guest_client.hpp"
#include "http/sse.hpp"
#include "pipeline/events/event_ring.hpp"

namespace nanobox::http {

namespace {

constexpr std::chrono::seconds kKeepAlive{15};
constexpr std::size_t kAtOnce = 64;

/// What a request wants of the ring.
struct WantedEvents {
  EventFilter filter;
  std::optional<std::string> since;
  bool follow = true;
};

Result<WantedEvents> read_query(const Request& request) {
  NANOBOX_TRY(check_query(request, {"since", "type", "subject", "node_id", "follow", "limit", "cursor"}));
  WantedEvents wanted;
  if (!request.is_admin) wanted.filter.owner = request.owner;
  if (const auto types = request.query_parameter("type")) wanted.filter.types = NANOBOX_TRY(parse_event_types(*types));
  if (const auto subject = request.query_parameter("subject")) wanted.filter.subject = *subject;
  if (const auto node_id = request.query_parameter("node_id")) wanted.filter.node_id = *node_id;
  // A browser's EventSource says by the header where it was: that is newer than its address.
  auto since = request.header("last-event-id");
  if (!since || since->empty()) since = request.query_parameter("since");
  if (since) {
    if (!is_id(*since, "ev"))
      return fail(invalid_parameter("read events", "?since", "must be the id of an event",
                                    "use the id of the last event that came, or leave it out"));
    wanted.since = *since;
  }
  if (const auto follow = request.query_parameter("follow")) {
    if (*follow != "0" && *follow != "1")
      return fail(invalid_parameter("read events", "?follow", "must be 0 or 1", "leave it out to follow"));
    wanted.follow = *follow == "1";
  }
  return wanted;
}

std::string event_text(const Event& event) {
  return server_sent_event(event.type, to_json(event), event.id);
}

std::string missed_text(const std::string& oldest) {
  json::Writer json;
  json.begin_object().field("oldest", oldest).end_object();
  return server_sent_event("events.missed", json.take());
}

struct FollowerState {
  static inline const char* name = "event_follower";
  std::shared_ptr<EventRing> ring;
  WantedEvents wanted;
  EventRing::Place place = 0;
  std::optional<Stream> stream;
  bool has_room = true;
  EventRing::Watch watch;
  std::optional<std::stop_callback<std::function<void()>>> stopping;
};
using FollowerSelf = caf::stateful_actor<FollowerState>*;

void end(FollowerSelf self) {
  self->state.stream->end();
  self->quit();
}

/// Writes what there is while the client takes it. One that is slow stays behind in the ring, not in memory of its own.
void send_events(FollowerSelf self) {
  auto& state = self->state;
  while (state.has_room) {
    const auto slice = state.ring->behind(state.place, state.wanted.filter, kAtOnce);
    std::string text;
    if (slice.gap) text = missed_text(state.ring->oldest());
    for (const auto& event : slice.events) text += event_text(*event);
    state.place = slice.next;
    if (!text.empty() && !state.stream->write(text)) {
      state.has_room = false;
      state.stream->on_writable([post = GuestClient::Post(self->address()), self] {
        post([self] {
          self->state.has_room = true;
          send_events(self);
        });
      });
    }
    if (slice.at_end && !state.wanted.follow) return end(self);
    if (slice.at_end) return;
  }
}

caf::behavior event_follower(FollowerSelf self, const Api* api, WantedEvents wanted,
                             std::shared_ptr<Responder> responder) {
  auto& state = self->state;
  state.ring = api->plane.control->events;
  state.wanted = std::move(wanted);
  state.stream = responder->begin_stream(event_stream_type, {{"Cache-Control", "no-store"}});
  const GuestClient::Post post(self->address());
  state.stream->on_disconnect([post, self] { post([self] { self->quit(); }); });
  // The head goes out at once, so that who follows knows that it does.
  state.stream->write(server_sent_comment());
  // Without an id what happens from now on is wanted, unless only what is kept is.
  state.place = state.wanted.follow ? state.ring->end() : 0;
  if (state.wanted.since) {
    const auto found = state.ring->find(*state.wanted.since);
    state.place = found.place;
    if (!found.complete) state.stream->write(missed_text(state.ring->oldest()));
  }
  if (state.wanted.follow) {
    state.watch = state.ring->watch([follower = self->address()](const EventRing::Value&) {
      if (const auto actor = caf::actor_cast<caf::actor>(follower)) caf::anon_send(actor, work_atom_v);
    });
    state.stopping.emplace(api->stopping.get_token(),
                           std::function<void()>([post, self] { post([self] { end(self); }); }));
    self->delayed_send(self, kKeepAlive, tick_atom_v);
  }
  send_events(self);
  return {
      [](post_atom, const std::function<void()>& work) { work(); },
      [self](work_atom) { send_events(self); },
      [self](tick_atom tick) {
        if (self->state.has_room) self->state.stream->write(server_sent_comment());
        self->delayed_send(self, kKeepAlive, tick);
      },
  };
}

void list(const EventRing& ring, const WantedEvents& wanted, const Page& page, Responder& responder) {
  const auto after = page.after ? page.after : wanted.since;
  const auto slice = ring.behind(after ? ring.find(*after).place : 0, wanted.filter, page.limit + 1);
  responder.send(
      200, list_json(
               slice.events, {.limit = page.limit, .after = std::nullopt}, [](const auto& event) { return event->id; },
               [](const auto& event) { return to_json(*event); }));
}

void send(Api& api, const Request& request, Responder responder) {
  auto wanted = read_query(request);
  if (!wanted) return responder.send_problem(wanted.error());
  if (request.header("accept") == "application/json") {
    const auto page = read_page(request);
    if (!page) return responder.send_problem(page.error());
    return list(*api.plane.control->events, *wanted, *page, responder);
  }
  api.system.spawn(event_follower, &api, std::move(*wanted), std::make_shared<Responder>(std::move(responder)));
}

}  // namespace

void add_event_routes(Router& router, Api& api) {
  router.add(Method::get, "/api/v1/events",
             [&api](const Request& request, Responder responder) { send(api, request, std::move(responder)); });
}

}  // namespace nanobox::http
