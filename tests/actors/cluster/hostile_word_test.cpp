#include <limits>

#include "actors/cluster/node_door.hpp"
#include "actors/cluster/node_word.hpp"
#include "tests/actors/cluster/cluster_fixture.hpp"

using namespace nanobox;

namespace {

/// A node that does its worst, and one that does not.
class HostileFixture : public nanobox::test::ClusterFixture {
protected:
  HostileFixture() {
    victim = join("n1");
    connect(victim);
    warm_up(victim);
    have(victim, "sb-1");
    hostile = join("n2");
    connect(hostile);
  }
  RunRecord run_of(const std::string& id, const std::string& pipeline, const std::string& subject) const {
    RunRecord run;
    run.id = id;
    run.pipeline = pipeline;
    run.subject = subject;
    run.owner = "ann";
    return run;
  }
  static SandboxDeath death_of(const std::string& id, const std::string& node_id) {
    SandboxDeath death;
    death.id = id;
    death.owner = "ann";
    death.node_id = node_id;
    death.ended_at = wall_now();
    return death;
  }
  void tell_run(const RunRecord& run) {
    NodeNews news;
    news.runs.push_back(run);
    tell(hostile, std::move(news));
  }

  nanobox::test::SharedNode victim, hostile;
};

}  // namespace

TEST_CASE_METHOD(HostileFixture, "what a node says of another's sandbox counts for nothing", "[cluster]") {
  tell(hostile, sandbox_of("sb-1", SandboxStatus::failed));
  NodeNews gone;
  gone.gone_sandboxes = {"sb-1"};
  tell(hostile, gone);

  CHECK(status_of("sb-1") == "running");
  CHECK(control->boards->sandboxes.find("sb-1")->node_id == "n1");
  CHECK(victim->count("remove sb-1") == 0);
}

TEST_CASE_METHOD(HostileFixture, "a node tells of the end of its own sandboxes alone", "[cluster]") {
  NodeNews news;
  news.deaths = {death_of("sb-1", "n2"), death_of("sb-9", "n2")};
  tell(hostile, news);
  CHECK(control->boards->deaths.all().empty());

  auto eves = death_of("sb-1", "n1");
  eves.owner = "eve";
  tell(victim, {.sandboxes = {},
                .gone_sandboxes = {},
                .templates = {},
                .gone_templates = {},
                .runs = {},
                .pools = {},
                .deaths = {eves}});
  CHECK(control->boards->deaths.all().empty());
}

TEST_CASE_METHOD(HostileFixture, "sandboxes that nobody put there are ended, not taken over", "[cluster]") {
  tell(hostile, sandbox_of("sb-9"));
  CHECK(status_of("sb-9") == "none");
  CHECK(hostile->count("remove sb-9") == 1);

  connect(hostile, {sandbox_of("sb-9"), sandbox_of("sb-1")});
  CHECK(hostile->admission.given_up == std::vector<std::string>{"sb-9", "sb-1"});
  CHECK(status_of("sb-9") == "none");
  CHECK(control->boards->sandboxes.find("sb-1")->node_id == "n1");
}

TEST_CASE_METHOD(HostileFixture, "a sandbox does not change its owner", "[cluster]") {
  auto taken = sandbox_of("sb-1");
  taken.owner = "eve";
  taken.revision = 99;

  tell(victim, taken);
  connect(victim, {taken}, {template_of("busybox", "version 1")});

  CHECK(control->boards->sandboxes.find("sb-1")->owner == "ann");
}

TEST_CASE_METHOD(HostileFixture, "an order that is answered with another sandbox fails and leaves nothing",
                 "[cluster]") {
  die(victim);
  tell(hostile, template_of("busybox", "version 1"));
  const auto made = create("sb-2");
  REQUIRE(hostile->creating.contains("sb-2"));

  answer(hostile, "sb-2", sandbox_of("sb-1"));

  CHECK(code_of(made) == ErrorCode::internal);
  CHECK(hostile->count("remove sb-2") == 1);
  CHECK(status_of("sb-2") == "none");
  CHECK(control->boards->sandboxes.find("sb-1")->node_id == "n1");
}

TEST_CASE_METHOD(HostileFixture, "runs of what is not the node's are no runs", "[cluster]") {
  auto known = run_of("run-1", "boot", "sb-1");
  NodeNews news;
  news.runs.push_back(known);
  tell(victim, news);
  REQUIRE(control->boards->runs.find("run-1"));

  auto forged = known;
  forged.status = RunStatus::failed;
  tell_run(forged);
  tell_run(run_of("run-2", "boot", "sb-1"));
  tell_run(run_of("run-3", "boot", "sb-unknown"));
  tell_run(run_of("run-4", "warmup", "busybox"));

  CHECK(control->boards->runs.find("run-1")->status == RunStatus::queued);
  for (const auto* id : {"run-2", "run-3", "run-4"}) CHECK_FALSE(control->boards->runs.find(id));
}

TEST_CASE_METHOD(HostileFixture, "a node that says too much is disconnected, and nobody else", "[cluster]") {
  NodeNews news;
  SECTION("giant names") {
    news.sandboxes = {sandbox_of(std::string(1 << 20, 'x'))};
  }
  SECTION("no names") {
    news.templates = {template_of("", "version 1")};
  }
  SECTION("giant lists") {
    news.gone_sandboxes.resize(1'000'000);
  }
  SECTION("the end of another node's sandbox") {
    news.deaths = {death_of("sb-1", "n1")};
  }
  SECTION("a giant console") {
    news.deaths = {death_of("sb-2", "n2")};
    news.deaths.front().console.assign(kDeathConsoleMax + 1, 'x');
  }
  SECTION("a console that is no text") {
    news.deaths = {death_of("sb-2", "n2")};
    news.deaths.front().console = "\xFF";
  }

  tell(hostile, news);

  CHECK(state_of("n2") == "lost");
  CHECK(state_of("n1") == "ready");
  CHECK(status_of("sb-1") == "running");
}

TEST_CASE("what no honest node says of itself is refused", "[cluster]") {
  NodeHello honest;
  honest.node_id = "n1";
  REQUIRE(check_word(honest));

  const auto is_refused = [&](auto spoil) {
    auto hello = honest;
    spoil(hello);
    const auto checked = check_word(hello);
    return !checked && checked.error().code == ErrorCode::peer_untrusted;
  };
  CHECK(is_refused([](NodeHello& hello) { hello.node_id.clear(); }));
  CHECK(is_refused([](NodeHello& hello) { hello.data_addr.assign(1 << 20, 'x'); }));
  CHECK(is_refused([](NodeHello& hello) { hello.epoch = std::numeric_limits<std::uint64_t>::max(); }));
  CHECK(is_refused([](NodeHello& hello) { hello.capacity.memory_mb = std::numeric_limits<std::uint64_t>::max(); }));
  CHECK(is_refused([](NodeHello& hello) { hello.capacity.disk_overcommit = std::nan(""); }));
  CHECK(is_refused([](NodeHello& hello) { hello.capacity.vcpu_overcommit = -1; }));
}

TEST_CASE_METHOD(HostileFixture, "the door refuses a face that is none", "[cluster]") {
  const auto door = start(node_door, nodes, ProofCheck());
  const auto admitted = ask<Admission>(door, hello_atom_v, hello_of("n2"), NodeFaceActor(), std::string());
  CHECK(code_of(admitted) == ErrorCode::peer_untrusted);
}
