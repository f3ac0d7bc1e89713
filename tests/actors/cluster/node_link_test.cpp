#include "actors/cluster/node_link.hpp"

#include <catch2/catch.hpp>

#include "tests/actors/actor_system_fixture.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

/// A control plane that lets the node in and counts what it hears.
struct StandInPlane {
  std::size_t beats = 0;
  std::size_t admissions = 0;
  NodeInboxActor inbox;
};

NodeInboxActor::behavior_type stand_in_inbox(std::shared_ptr<StandInPlane> plane) {
  return {[plane](beat_atom, const NodeBeat&) { ++plane->beats; }, [](news_atom, const NodeNews&) {}};
}

class LinkFixture : public nanobox::test::ActorSystemFixture {
protected:
  LinkFixture() {
    const auto door = start([this](NodeDoorActor::pointer) -> NodeDoorActor::behavior_type {
      return {[](greet_atom) { return std::string("challenge"); },
              [this](hello_atom, const NodeHello&, const NodeFaceActor&, const std::string&) {
                ++plane->admissions;
                plane->inbox = start(stand_in_inbox, plane);
                return Admission{.inbox = plane->inbox, .epoch = plane->admissions, .given_up = {}};
              }};
    });
    auto services = std::make_shared<Services>();
    services->boards = std::make_shared<Boards>();
    Node node;
    node.services = services;
    NodeHello description;
    description.node_id = "n1";
    start(node_link, node, Fetchers(),
          ControlPlaneDoor{.open = [door]() -> Result<NodeDoorActor> { return door; },
                           .prove = [](const std::string&) -> Result<std::string> { return std::string(); }},
          description);
    settle();
  }

  std::shared_ptr<StandInPlane> plane = std::make_shared<StandInPlane>();
};

}  // namespace

TEST_CASE_METHOD(LinkFixture, "a node beats once a second, however often it connected anew within one", "[cluster]") {
  REQUIRE(plane->beats == 1);
  for (std::size_t time = 2; time <= 4; ++time) {
    caf::anon_send_exit(plane->inbox, caf::exit_reason::kill);
    settle();
    let_pass(200ms);
    REQUIRE(plane->admissions == time);
  }

  plane->beats = 0;
  for (int second = 0; second < 5; ++second) let_pass(1s);

  CHECK(plane->beats == 5);
}
