#include <caf/event_based_actor.hpp>

#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "http/resources/output_events.hpp"
#include "http/sse.hpp"

namespace nanobox::http {

namespace {

constexpr std::chrono::seconds kShort{30};
constexpr std::chrono::seconds kFollow{8 * 86'400};
constexpr std::string_view kPlain = "text/plain; charset=utf-8";

struct FollowerState {
  static inline const char* name = "console_follower";
  std::optional<Stream> stream;
  GuestAccessActor agent;
  std::string sandbox_id;
};
using FollowerSelf = caf::stateful_actor<FollowerState>*;

/// Asks for what comes behind `offset`, which is answered once there is something, and sends it at the client's pace.
void follow_from(FollowerSelf self, std::uint64_t offset) {
  auto& state = self->state;
  self->request(state.agent, kFollow, console_atom_v, state.sandbox_id, offset)
      .then(
          [self](const ConsolePiece& piece) {
            auto& stream = *self->state.stream;
            if (stream.write(output_event("console", piece.bytes, std::to_string(piece.end))))
              return follow_from(self, piece.end);
            stream.on_writable([post = GuestClient::Post(self->address()), self, end = piece.end] {
              post([self, end] { follow_from(self, end); });
            });
          },
          [self](caf::error& error) {
            self->state.stream->write(error_event(from_caf(error, "follow the console")));
            self->state.stream->end();
            self->quit();
          });
}

caf::behavior console_follower(FollowerSelf self, GuestAccessActor agent, std::string sandbox_id,
                               std::shared_ptr<Responder> responder) {
  auto& state = self->state;
  state.agent = std::move(agent);
  state.sandbox_id = std::move(sandbox_id);
  state.stream = responder->begin_stream(event_stream_type);
  state.stream->on_disconnect([post = GuestClient::Post(self->address()), self] { post([self] { self->quit(); }); });
  follow_from(self, 0);
  return {[](post_atom, const std::function<void()>& work) { work(); }};
}

/// What the guest's init says about itself, as text or, followed, as events.
class InitLog final : public OneAnswer {
public:
  using OneAnswer::OneAnswer;
  void on_data(StreamData& data) override {
    text_ += data.text();
    grant(data.bytes.size());
  }
  void on_exit(const StreamExit&) override {
    responder().send_bytes(200, kPlain, std::move(text_));
    quit();
  }

private:
  std::string text_;
};

class FollowedInitLog final : public EventAnswer {
public:
  using EventAnswer::EventAnswer;
  void on_opened(const Opened&) override { emit(server_sent_comment()); }
  void on_data(StreamData& data) override { emit(output_event("init", data.text()), data.bytes.size()); }
  void on_exit(const StreamExit&) override { end(); }
};

void send_logs(Api& api, const Request& request, Responder responder) {
  if (auto known = check_query(request, {"follow", "source"}); !known) return responder.send_problem(known.error());
  const auto sandbox = sandbox_of(api, request);
  if (!sandbox) return responder.send_problem(sandbox.error());
  const bool follow = request.query_parameter("follow") == "1";
  const auto source = request.query_parameter("source").value_or("console");
  const auto& id = (*sandbox)->id;
  if (source != "console" && source != "init")
    return responder.send_problem(
        invalid_parameter("read the logs", "?source", "must be console or init", "leave it out for the console"));
  if ((*sandbox)->status == SandboxStatus::failed) return responder.send_bytes(200, kPlain, (*sandbox)->reason + "\n");
  // Without a VM there is no console either.
  if (is_paused((*sandbox)->status)) return responder.send_problem(not_running(**sandbox));
  if (source == "init") {
    std::unique_ptr<GuestClient> client;
    if (follow)
      client = std::make_unique<FollowedInitLog>(std::move(responder));
    else
      client = std::make_unique<InitLog>(std::move(responder));
    return start_guest_client(api, id, LogRequest{.follow = follow}, std::move(client));
  }
  if (follow) {
    api.system.spawn(console_follower, api.guests(), id, std::make_shared<Responder>(std::move(responder)));
    return;
  }
  ask_actor<std::string>(
      api, std::make_shared<Responder>(std::move(responder)), kShort, "read the console", api.guests(),
      [](Responder& to, const std::string& text) { to.send_bytes(200, kPlain, text); }, console_atom_v, id);
}

}  // namespace

void add_log_route(Router& router, Api& api) {
  router.add(Method::get, "/api/v1/sandboxes/{id}/logs",
             [&api](const Request& request, Responder responder) { send_logs(api, request, std::move(responder)); });
}

}  // namespace nanobox::http
