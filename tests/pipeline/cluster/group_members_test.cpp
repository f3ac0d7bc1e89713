#include "pipeline/cluster/group_members.hpp"

#include <catch2/catch.hpp>

namespace nanobox {
namespace {

using Groups = std::set<std::string>;
using Members = std::vector<RemoteMember>;

Sandbox sandbox(std::string id, std::string node, std::string ip, std::string group = "g", std::string owner = "ann") {
  Sandbox made;
  made.id = std::move(id);
  made.owner = std::move(owner);
  made.node_id = std::move(node);
  made.ip = std::move(ip);
  made.status = SandboxStatus::running;
  made.network.mode = "internal";
  made.network.group = std::move(group);
  return made;
}

const std::string anns = group_name("ann", "g");

TEST_CASE("a group's members are told to the nodes that have others of it", "[cluster]") {
  GroupMembers members;
  CHECK(members.put(sandbox("a", "n1", "10.100.0.2")) == Groups{anns});
  CHECK(members.put(sandbox("b", "n2", "10.100.1.2")) == Groups{anns});
  CHECK(members.put(sandbox("c", "n2", "10.100.1.3", "g", "bob")) == Groups{group_name("bob", "g")});
  CHECK(members.elsewhere(anns, "n1") == Members{{"b", 0x0A640102}});
  CHECK(members.elsewhere(anns, "n2") == Members{{"a", 0x0A640002}});
  CHECK(members.groups_on("n1") == std::vector{anns});
  CHECK((members.is_on(anns, "n2") && !members.is_on(anns, "n3")));
}

TEST_CASE("only what changes a group is a change", "[cluster]") {
  GroupMembers members;
  auto one = sandbox("a", "n1", "10.100.0.2");
  members.put(one);
  one.timeout_sec = 7;
  CHECK(members.put(one).empty());
  one.network.group = "h";
  CHECK(members.put(one) == Groups{anns, group_name("ann", "h")});
  one.network.mode = "isolated";
  CHECK(members.put(one) == Groups{group_name("ann", "h")});
  CHECK(members.put(one).empty());
  CHECK(members.remove("a").empty());
}

TEST_CASE("one at rest, or on its way, is no member", "[cluster]") {
  GroupMembers members;
  auto one = sandbox("a", "n1", "10.100.0.2");
  for (const auto status : {SandboxStatus::creating, SandboxStatus::paused, SandboxStatus::resuming,
                            SandboxStatus::stopping, SandboxStatus::failed}) {
    one.status = SandboxStatus::running;
    CHECK(members.put(one) == Groups{anns});
    one.status = status;
    CHECK(members.put(one) == Groups{anns});
  }
  auto without = sandbox("b", "n1", "");
  without.ip.reset();
  CHECK(members.put(without).empty());
}

TEST_CASE("a lost one stays what it was", "[cluster]") {
  GroupMembers members;
  auto running = sandbox("a", "n1", "10.100.0.2"), paused = sandbox("b", "n1", "10.100.0.3"),
       unknown = sandbox("c", "n1", "10.100.0.4");
  members.put(running);
  paused.status = SandboxStatus::paused;
  members.put(paused);
  for (auto* each : {&running, &paused, &unknown}) each->status = SandboxStatus::lost;
  CHECK(members.put(running).empty());
  CHECK(members.put(paused).empty());
  CHECK(members.put(unknown) == Groups{anns});  // its VM may run: the control plane was started anew
  CHECK(members.elsewhere(anns, "n2") == Members{{"a", 0x0A640002}, {"c", 0x0A640004}});
  CHECK(members.remove("a") == Groups{anns});
}

}  // namespace
}  // namespace nanobox
