#include "actors/cluster/node_door.hpp"

#include "actors/cluster/node_word.hpp"
#include "config/random_bytes.hpp"

namespace nanobox {

namespace {

constexpr std::chrono::seconds kHelloDeadline{25};
/// Whoever asks and does not answer is forgotten by then.
constexpr std::size_t kChallengesKept = 1024;

Error nobody() {
  return {.code = ErrorCode::peer_untrusted,
          .attempted = "let node in",
          .subject = "",
          .reason = "it does not say who asks",
          .mend = ""};
}

}  // namespace

NodeDoorActor::behavior_type node_door(NodeDoorActor::stateful_pointer<NodeDoorState> self, NodeRegistryActor nodes,
                                       ProofCheck check) {
  self->state.nodes = std::move(nodes);
  self->state.check = std::move(check);
  // Whoever reaches it may send it anything.
  self->set_default_handler(caf::drop);
  self->set_error_handler([](caf::error&) {});
  return {
      [self](greet_atom) -> caf::result<std::string> {
        if (!self->current_sender()) return to_caf(nobody());
        auto challenge = random_hex(32);
        auto& challenges = self->state.challenges;
        if (challenges.size() >= kChallengesKept) challenges.clear();
        challenges[caf::actor_cast<caf::actor_addr>(self->current_sender())] = challenge;
        return challenge;
      },
      [self](hello_atom atom, NodeHello& hello, const NodeFaceActor& face,
             const std::string& proof) -> caf::result<Admission> {
        if (!self->current_sender()) return to_caf(nobody());
        const auto challenge = self->state.challenges.extract(caf::actor_cast<caf::actor_addr>(self->current_sender()));
        if (self->state.check) {
          if (challenge.empty())
            return to_caf({.code = ErrorCode::peer_untrusted,
                           .attempted = "let node in",
                           .subject = hello.node_id,
                           .reason = "it answered a challenge that it was not given",
                           .mend = ""});
          if (auto proven = self->state.check(hello, challenge.mapped(), proof); !proven) return to_caf(proven.error());
        }
        // Nor may it have us ask another's actor, or one of ours.
        if (!face || face.node() != self->current_sender()->node())
          return to_caf({.code = ErrorCode::peer_untrusted,
                         .attempted = "let node in",
                         .subject = hello.node_id,
                         .reason = "what it wants to be asked by is no actor of its own",
                         .mend = ""});
        if (auto fit = check_word(hello); !fit) return to_caf(fit.error());
        auto promise = self->make_response_promise<Admission>();
        self->request(self->state.nodes, kHelloDeadline, atom, std::move(hello), face)
            .then([promise](Admission& admission) mutable { promise.deliver(std::move(admission)); },
                  [promise](caf::error& error) mutable { promise.deliver(std::move(error)); });
        return promise;
      },
  };
}

}  // namespace nanobox
