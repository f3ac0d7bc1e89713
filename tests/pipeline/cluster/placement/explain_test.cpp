#include <catch2/catch.hpp>

#include "some_nodes.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

using Words = std::vector<std::string>;

std::string why(const std::vector<NodeVerdict>& verdicts, const std::string& node_id) {
  for (const auto& verdict : verdicts)
    if (verdict.node_id == node_id) return (verdict.fits ? "fits: " : "") + verdict.why;
  return "no word of it";
}

}  // namespace

TEST_CASE_METHOD(SomeCluster, "an explanation says of every other node why not", "[placement]") {
  for (const auto* id : {"n1", "n2", "n3", "n4", "n5", "n6"}) {
    auto node = some_node(id);
    if (node.node_id != "n6") node.snapshots = {"snapshot-1"};
    add(node);
  }
  REQUIRE(view.set_state("n1", NodeState::draining));
  fill("n2", 8);
  fill("n4", 4);
  auto small = some_node("n7");
  small.capacity.memory_mb = 100;
  add(small);
  auto wish = some_wish();
  wish.excluded_nodes = {"n5"};
  const auto decision = place(view, wish, random, Explain::yes);
  REQUIRE(decision);
  CHECK(decision->node_id == "n3");
  CHECK(decision->score ==
        Words{"has the snapshot", "load of two drawn: 13 % against 63 %", "sandboxes of the owner: 0 against 0"});
  CHECK(decision->verdicts.size() == 6);
  CHECK(why(decision->verdicts, "n1") == "draining");
  CHECK(why(decision->verdicts, "n2") == "full: memory 4096 of 4096, 512 more wanted");
  CHECK(why(decision->verdicts, "n3") == "no word of it");
  CHECK(why(decision->verdicts, "n4") == "fits: drawn too, not less loaded: 63 % against 13 %");
  CHECK(why(decision->verdicts, "n5") == "excluded after a failed boot");
  CHECK(why(decision->verdicts, "n6") == "fits: has nothing of it, the chosen one the snapshot");
  CHECK(why(decision->verdicts, "n7") == "too small: memory 100, 512 wanted");
}

TEST_CASE_METHOD(SomeCluster, "an explanation tells the drawn from those that were not", "[placement]") {
  add(3);
  fill("n1", 2, "ann");
  fill("n2", 2, "bob");
  fill("n3", 8);
  const auto by_spread = place(view, some_wish(), random, Explain::yes);
  CHECK(by_spread->node_id == "n2");
  CHECK(why(by_spread->verdicts, "n1") == "fits: drawn too, has more sandboxes of the owner: 2 against 0");
  for (int at = 0; at < 8; ++at) view.release("n3else" + std::to_string(at));
  const auto drawn = place(view, some_wish(), random, Explain::yes);
  std::size_t not_drawn = 0;
  for (const auto& verdict : drawn->verdicts) not_drawn += verdict.why == "would do, was not drawn" ? 1 : 0;
  CHECK(not_drawn == 1);
}

TEST_CASE_METHOD(SomeCluster, "the score names the pin and a lone candidate", "[placement]") {
  add(2);
  auto wish = some_wish();
  wish.pinned_node = "n1";
  const auto decision = place(view, wish, random, Explain::yes);
  CHECK(decision->score == Words{"it is pinned there", "has nothing of it", "load 13 %, no other to compare"});
  CHECK(why(decision->verdicts, "n2") == "it is pinned to n1");
}

TEST_CASE_METHOD(SomeCluster, "nothing is explained unasked", "[placement]") {
  add(2);
  const auto decision = place(view, some_wish(), random);
  CHECK(decision->score.empty());
  CHECK(decision->verdicts.empty());
}

TEST_CASE_METHOD(SomeCluster, "a refusal counts its reasons, the most frequent first", "[placement]") {
  add(4);
  for (const auto* id : {"n2", "n3"}) fill(id, 8);
  REQUIRE(view.set_state("n1", NodeState::draining));
  auto busy = some_node("n4");
  busy.outside = {.vcpu = 32, .memory_mb = 4000, .disk_mb = 0, .addresses = 0};
  add(busy);
  CHECK(refused(some_wish()).reason == "4 nodes: 2 full (memory), 1 draining, 1 full (vcpu, memory)");
  const auto all = verdicts(view, some_wish());
  CHECK(all.size() == 4);
  CHECK(why(all, "n4") == "full: vcpu 32 of 32, 1 more wanted; memory 4000 of 4096, 512 more wanted");
}
