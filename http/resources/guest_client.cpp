#include "http/resources/guest_client.hpp"

#include <caf/event_based_actor.hpp>

#include "actors/guest_access.hpp"

namespace nanobox::http {

namespace {

/// Work for an actor's thread.
using Work = std::function<void()>;

constexpr std::chrono::seconds kOpenDeadline{60};

using ClientActor = StreamSink::extend<caf::reacts_to<post_atom, Work>, caf::reacts_to<tick_atom>>;

struct ClientState {
  static inline const char* name = "guest_client";
  std::unique_ptr<GuestClient> client;
};
using Self = ClientActor::stateful_pointer<ClientState>;

void open(Self self, const GuestAccessActor& agent, const std::string& sandbox_id, StreamRequest request) {
  self->request(agent, kOpenDeadline, open_atom_v, sandbox_id, std::move(request), StreamSink(self))
      .then(
          [self](const GuestStream& stream) {
            self->state.client->set_stream(stream);
            self->monitor(stream.source);
            self->state.client->on_stream();
          },
          [self](caf::error& error) { self->state.client->on_failed(from_caf(error, "reach the sandbox")); });
}

ClientActor::behavior_type guest_client(Self self, GuestAccessActor agent, std::string sandbox_id,
                                        StreamRequest request, std::shared_ptr<std::unique_ptr<GuestClient>> client) {
  auto& state = self->state;
  state.client = std::move(*client);
  state.client->set_host(
      {.quit = [self] { self->quit(); },
       .tick_after = [self](std::chrono::milliseconds pause) { self->delayed_send(self, pause, tick_atom_v); },
       .reopen = [self, agent, sandbox_id](StreamRequest next) { open(self, agent, sandbox_id, std::move(next)); },
       .post = GuestClient::Post(self->address())});
  self->set_down_handler([self, sandbox_id](const caf::down_msg& down) {
    self->state.client->on_failed(stream_ended(down, "use sandbox", sandbox_id));
  });
  open(self, agent, sandbox_id, std::move(request));
  return {
      [self](opened_atom, const Opened& opened) { self->state.client->on_opened(opened); },
      [self](bytes_atom, StreamData& data) { self->state.client->on_data(data); },
      [self](gap_atom, const OutputGap& gap) { self->state.client->on_gap(gap); },
      [self](window_atom, const StdinWindow& window) { self->state.client->on_window(window); },
      [self](exit_atom, const StreamExit& exit) { self->state.client->on_exit(exit); },
      [self](failed_atom, const Error& error) { self->state.client->on_failed(error); },
      [](post_atom, const Work& work) { work(); },
      [self](tick_atom) { self->state.client->on_tick(); },
  };
}

}  // namespace

void GuestClient::Post::operator()(std::function<void()> work) const {
  if (const auto actor = caf::actor_cast<caf::actor>(who_)) caf::anon_send(actor, post_atom_v, Work(std::move(work)));
}

void start_guest_client(Api& api, std::string sandbox_id, StreamRequest request, std::unique_ptr<GuestClient> client) {
  api.system.spawn(guest_client, api.guests(), std::move(sandbox_id), std::move(request),
                   std::make_shared<std::unique_ptr<GuestClient>>(std::move(client)));
}

}  // namespace nanobox::http
