#include "actors/cluster/guest_router.hpp"

namespace nanobox {

namespace {

using Self = GuestRouterActor::stateful_pointer<GuestRouterState>;

/// The answer goes straight to who asked.
template <class T, class... Message>
caf::result<T> hand_on(Self self, const std::string& id, const Message&... message) {
  const auto sandbox = self->state.control->boards->sandboxes.find(id);
  const auto node = sandbox ? self->state.nodes.find(sandbox->node_id) : self->state.nodes.end();
  if (node == self->state.nodes.end())
    return to_caf({.code = sandbox ? ErrorCode::sandbox_lost : ErrorCode::sandbox_not_found,
                   .attempted = "use sandbox",
                   .subject = id,
                   .reason = sandbox ? "its node " + sandbox->node_id + " is lost" : "there is none with that id",
                   .mend = "GET /api/v1/sandboxes lists them"});
  auto promise = self->make_response_promise<T>();
  promise.delegate(node->second.session, message...);
  return promise;
}

}  // namespace

GuestRouterActor::behavior_type guest_router(Self self, SharedControl control) {
  self->state.control = std::move(control);
  self->set_down_handler([self](const caf::down_msg& down) {
    std::erase_if(self->state.nodes, [&](const auto& node) { return node.second.session.address() == down.source; });
  });
  return {
      [self](open_atom atom, const std::string& id, const StreamRequest& request, const StreamSink& sink) {
        return hand_on<GuestStream>(self, id, atom, id, request, sink);
      },
      [self](console_atom atom, const std::string& id) { return hand_on<std::string>(self, id, atom, id); },
      [self](console_atom atom, const std::string& id, std::uint64_t offset) {
        return hand_on<ConsolePiece>(self, id, atom, id, offset);
      },
      [self](hello_atom, const NodeStatus& node, const NodeSessionActor& session) {
        self->state.nodes[node.node_id] = {.session = session, .epoch = node.epoch};
        self->monitor(session);
      },
      [self](lost_atom, const std::string& node_id, std::uint64_t epoch, const std::string&) {
        const auto node = self->state.nodes.find(node_id);
        if (node != self->state.nodes.end() && node->second.epoch == epoch) self->state.nodes.erase(node);
      },
  };
}

}  // namespace nanobox
