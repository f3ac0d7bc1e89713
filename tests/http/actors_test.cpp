#include "resources_fixture.hpp"

namespace nanobox::test {

TEST_CASE_METHOD(Resources, "the control plane's concerns and every node's are listed", "[http][resources]") {
  auto gauge = std::make_shared<ConcernGauge>();
  gauge->handed = 10;
  gauge->mailbox = 3;
  gauge->wait_us = 120;
  ConcernHealth registry;
  registry.concern = "node_registry";
  registry.gauge = gauge;
  boards->concerns.publish("node_registry", registry);
  ConcernReport agent, machines;
  agent.concern = "node_agent";
  agent.restarts = 2;
  agent.last_error = "it broke";
  agent.unsteady = true;
  machines.concern = "vm_supervisor";
  machines.parent = "node_agent";
  machines.count = 5;
  auto here = *boards->nodes.find("here");
  here.beat.concerns = {agent, machines};
  boards->nodes.publish("here", here);

  const auto actors = get("/actors");

  REQUIRE(actors.status == 200);
  REQUIRE(actors.size_of("/items") == 3);
  CHECK(actors.at("/items/0") ==
        R"({"id":"control/node_registry","node_id":null,"concern":"node_registry","parent":"control","mailbox":3,)"
        R"("wait_us":120,"handled":7,"restarts":0,"last_error":null,"unsteady":false,"count":1})");
  CHECK(actors.at("/items/1/parent") == "here");
  CHECK(actors.at("/items/1/restarts") == "2");
  CHECK(actors.at("/items/1/last_error") == "it broke");
  CHECK(actors.at("/items/1/unsteady") == "true");
  CHECK(actors.at("/items/2/id") == "here/vm_supervisor");
  CHECK(actors.at("/items/2/parent") == "here/node_agent");
  CHECK(actors.at("/items/2/count") == "5");
}

TEST_CASE_METHOD(Resources, "a lost node has no actors", "[http][resources]") {
  auto here = *boards->nodes.find("here");
  here.state = NodeState::lost;
  here.beat.concerns.emplace_back().concern = "node_agent";
  boards->nodes.publish("here", here);
  CHECK(get("/actors").size_of("/items") == 0);
}

TEST_CASE_METHOD(Resources, "actors are the admin's to see", "[http][resources]") {
  CHECK(get("/actors", "bbbb").code() == "forbidden");
}

}  // namespace nanobox::test
