#pragma once

#include <caf/event_based_actor.hpp>
#include <chrono>
#include <memory>

#include "actors/messages.hpp"
#include "http/pagination.hpp"
#include "http/resources/api.hpp"

namespace nanobox::http {

/// Sends a request to an actor and gives the answer to `then`, or sends the problem. Does not block: the asker is an
/// actor of its own, which holds the responder.
/// @param then  called with (Responder&, value)
template <class T, class Handle, class Then, class... Message>
void ask_actor(Api& api, std::shared_ptr<Responder> responder, std::chrono::milliseconds deadline,
               const std::string& attempted, const Handle& handle, Then then, Message... message) {
  api.system.spawn([=](caf::event_based_actor* self) {
    // Whoever ends with questions open does not answer them.
    self->monitor(handle);
    self->set_down_handler([self, responder, attempted](const caf::down_msg&) {
      responder->send_problem({.code = ErrorCode::shutting_down,
                               .attempted = attempted,
                               .subject = "",
                               .reason = "the server is stopping",
                               .mend = "try again later"});
      self->quit();
    });
    const auto failed = [responder, attempted](caf::error& error) {
      responder->send_problem(from_caf(error, attempted));
    };
    if constexpr (std::is_void_v<T>)
      self->request(handle, deadline, message...).then([responder, then] { then(*responder); }, failed);
    else
      self->request(handle, deadline, message...)
          .then([responder, then](T& value) { then(*responder, value); }, failed);
  });
}

inline Error no_such_template(std::string_view name) {
  return {.code = ErrorCode::template_not_found,
          .attempted = "find template",
          .subject = std::string(name),
          .reason = "no template is named '" + std::string(name) + "'",
          .mend = "GET /api/v1/templates lists them; POST /api/v1/templates/warmup makes one"};
}

inline Error no_such_sandbox(std::string_view id) {
  return {.code = ErrorCode::sandbox_not_found,
          .attempted = "find sandbox",
          .subject = std::string(id),
          .reason = "there is none with that id",
          .mend = "GET /api/v1/sandboxes lists them"};
}

/// @param pointer  where it came from: "?mode", "/port"
inline Error invalid_parameter(std::string attempted, std::string pointer, std::string reason, std::string mend) {
  return {.code = ErrorCode::invalid_value,
          .attempted = std::move(attempted),
          .subject = pointer.substr(1),
          .reason = reason,
          .mend = std::move(mend),
          .fields = {{std::move(pointer), std::move(reason)}}};
}

/// The sandbox of the request's {id}, if it is there and the requester's.
inline Result<std::shared_ptr<const Sandbox>> sandbox_of(const Api& api, const Request& request) {
  auto sandbox = api.boards().sandboxes.find(std::string(request.param("id")));
  if (!sandbox || sandbox->owner != request.owner) return fail(no_such_sandbox(request.param("id")));
  return sandbox;
}

/// Why a sandbox that is not running cannot be used, and what to do.
inline Error not_running(const Sandbox& sandbox) {
  const bool paused = is_paused(sandbox.status), lost = sandbox.status == SandboxStatus::lost;
  const auto resume = "POST /api/v1/sandboxes/" + sandbox.id + "/resume";
  return {.code = paused ? ErrorCode::sandbox_paused
                  : lost ? ErrorCode::sandbox_lost
                         : ErrorCode::sandbox_not_running,
          .attempted = "use sandbox",
          .subject = sandbox.id,
          .reason =
              "it is " + std::string(to_string(sandbox.status)) + (sandbox.reason.empty() ? "" : ": " + sandbox.reason),
          .mend = sandbox.status == SandboxStatus::resuming ? resume + " is at work: wait until it is running"
                  : paused                                  ? resume + " lets it go on"
                  : lost ? "it is back as it was if the node comes back; else make another sandbox"
                         : "make another sandbox"};
}

/// The same, if a command can run in it now.
inline Result<std::shared_ptr<const Sandbox>> running_sandbox_of(const Api& api, const Request& request) {
  auto sandbox = NANOBOX_TRY(sandbox_of(api, request));
  if (sandbox->status != SandboxStatus::running) return fail(not_running(*sandbox));
  return sandbox;
}

enum class ListOrder : std::uint8_t { ascending, descending };

/// A page of `values` (sorted by `key_of`, in that order) as the contract's list.
template <class Values, class KeyOf, class Write>
std::string list_json(const Values& values, const Page& page, KeyOf key_of, Write write,
                      ListOrder order = ListOrder::ascending) {
  std::string items;
  std::size_t count = 0;
  std::optional<std::string> next;
  std::string last;
  for (const auto& value : values) {
    const std::string key = key_of(value);
    if (page.after && (order == ListOrder::ascending ? key <= *page.after : key >= *page.after)) continue;
    if (count == page.limit) {
      next = make_cursor(last);
      break;
    }
    items += (count++ == 0 ? "" : ",") + write(value);
    last = key;
  }
  return "{\"items\":[" + items + "],\"next_cursor\":" + (next ? "\"" + *next + "\"" : "null") + "}";
}

}  // namespace nanobox::http
