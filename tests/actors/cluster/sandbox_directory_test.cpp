#include "tests/actors/cluster/cluster_fixture.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

class DirectoryFixture : public nanobox::test::ClusterFixture {
protected:
  DirectoryFixture() {
    node = join("n1");
    connect(node);
    warm_up(node);
  }

  static Error error_of(ErrorCode code) {
    return {.code = code, .attempted = "do it", .subject = "", .reason = "a stand-in says so", .mend = ""};
  }
  static NodeNews ended(const std::string& id, DeathCause cause) {
    SandboxDeath death;
    death.id = id;
    death.owner = "ann";
    death.node_id = "n1";
    death.cause = cause;
    death.ended_at = wall_now();
    NodeNews news;
    news.deaths.push_back(death);
    news.gone_sandboxes.push_back(id);
    return news;
  }
  bool is_stored(const std::string& id) const { return (*control->store->get(kPlacedSandboxKind, id)).has_value(); }

  nanobox::test::SharedNode node;
};

}  // namespace

TEST_CASE_METHOD(DirectoryFixture, "a sandbox that is deleted while it is made leaves nothing", "[cluster]") {
  const auto made = create("sb-1");
  const auto removed = remove("sb-1");
  REQUIRE(node->count("cancel sb-1") == 1);
  CHECK_FALSE(removed->has_value());

  SECTION("its node stops making it") {
    answer(node, "sb-1", fail(error_of(ErrorCode::cancelled)));
  }
  SECTION("its node had made it already") {
    answer(node, "sb-1", sandbox_of("sb-1"));
    CHECK(node->count("remove sb-1") == 1);
  }
  SECTION("its node is lost") {
    die(node);
  }

  REQUIRE(removed->has_value());
  CHECK((*removed)->has_value());
  CHECK(code_of(made) == ErrorCode::cancelled);
  CHECK(status_of("sb-1") == "none");
}

TEST_CASE_METHOD(DirectoryFixture, "a sandbox whose client left while it was made is ended", "[cluster]") {
  const auto made = create("sb-1");
  caf::anon_send(sandboxes, cancel_atom_v, std::string("sb-1"));
  settle();

  answer(node, "sb-1", sandbox_of("sb-1"));

  CHECK(node->count("remove sb-1") == 1);
  CHECK(code_of(made) == ErrorCode::cancelled);
  CHECK(status_of("sb-1") == "none");
}

TEST_CASE_METHOD(DirectoryFixture, "a sandbox that is not made in time is ended on its node", "[cluster]") {
  const auto made = create("sb-1");
  const auto too_late = fail(error_of(ErrorCode::deadline_exceeded));

  SECTION("which confirms it") {
    answer(node, "sb-1", too_late);
    CHECK(node->count("remove sb-1") == 1);
    CHECK_FALSE(is_stored("sb-1"));
  }
  SECTION("which does not do it at first") {
    node->remove_fails = error_of(ErrorCode::deadline_exceeded);
    answer(node, "sb-1", too_late);
    CHECK(is_stored("sb-1"));
    node->remove_fails.reset();
    tell(node, sandbox_of("sb-1"));
    CHECK(node->count("remove sb-1") == 2);
    CHECK_FALSE(is_stored("sb-1"));
  }

  CHECK(code_of(made) == ErrorCode::deadline_exceeded);
  CHECK(status_of("sb-1") == "none");
}

TEST_CASE_METHOD(DirectoryFixture, "a sandbox that its node does not know is gone once it is deleted", "[cluster]") {
  have(node, "sb-1");
  node->remove_fails = error_of(ErrorCode::sandbox_not_found);

  const auto removed = remove("sb-1");

  REQUIRE(removed->has_value());
  CHECK((*removed)->has_value());
  CHECK(status_of("sb-1") == "none");
  CHECK_FALSE(is_stored("sb-1"));
}

TEST_CASE_METHOD(DirectoryFixture, "what was asked of a directory that died is answered, and its board is right",
                 "[cluster]") {
  have(node, "sb-1");
  const auto made = create("sb-2");
  const auto paused = ask<Sandbox>(sandboxes, pause_atom_v, std::string("sb-1"));
  control->boards->sandboxes.publish("sb-3", sandbox_of("sb-3"));  // shown, and not stored yet

  kill("sandbox_directory");

  CHECK(code_of(made) == ErrorCode::not_ready);
  CHECK(code_of(paused) == ErrorCode::not_ready);
  CHECK(status_of("sb-3") == "none");
  CHECK(status_of("sb-1") == "lost");
  connect(node, {sandbox_of("sb-1"), sandbox_of("sb-2")}, {template_of("busybox", "version 1")});
  CHECK(status_of("sb-1") == "running");
  CHECK(status_of("sb-2") == "running");
  CHECK(state_of("n1") == "ready");
}

TEST_CASE_METHOD(DirectoryFixture, "a late word of a sandbox that was deleted does not revive it", "[cluster]") {
  have(node, "sb-1");
  REQUIRE(remove("sb-1")->has_value());

  tell(node, sandbox_of("sb-1"));
  CHECK(status_of("sb-1") == "none");

  restart_control_plane();
  connect(node, {sandbox_of("sb-1")}, {template_of("busybox", "version 1")});
  CHECK(node->admission.given_up == std::vector<std::string>{"sb-1"});
  tell(node, sandbox_of("sb-1"));
  CHECK(status_of("sb-1") == "none");
  CHECK(node->count("remove sb-1") >= 2);
}

TEST_CASE_METHOD(DirectoryFixture, "children that a node was asked for are its own, others are not", "[cluster]") {
  have(node, "sb-1");
  auto child = sandbox_of("sb-2"), second = sandbox_of("sb-3"), others = sandbox_of("sb-4");
  child.parent = second.parent = others.parent = "sb-1";
  others.owner = "bob";

  tell(node, child);
  CHECK(status_of("sb-2") == "none");

  const auto forked = ask<Forked>(sandboxes, fork_atom_v, std::string("sb-1"), std::uint32_t{1});
  tell(node, others);
  CHECK(status_of("sb-4") == "none");
  tell(node, second);
  CHECK(status_of("sb-3") == "running");
  tell(node, child);
  CHECK(status_of("sb-2") == "none");
}

TEST_CASE_METHOD(DirectoryFixture, "the process' own node tells of what nobody knew", "[cluster]") {
  control->local_node_id = "local";
  const auto local = join("local");

  connect(local, {sandbox_of("sb-old")}, {template_of("old", "version 1")});

  CHECK(local->admission.given_up.empty());
  CHECK(status_of("sb-old") == "running");
  CHECK(control->boards->templates.find("ann/old"));
}

TEST_CASE_METHOD(DirectoryFixture, "why a sandbox ended is known before it is gone, and after a restart", "[cluster]") {
  have(node, "sb-1");

  tell(node, ended("sb-1", DeathCause::vm_exit));

  CHECK(status_of("sb-1") == "none");
  REQUIRE(control->boards->deaths.find("sb-1"));
  CHECK(control->boards->deaths.find("sb-1")->cause == DeathCause::vm_exit);
  restart_control_plane();
  REQUIRE(control->boards->deaths.find("sb-1"));
  CHECK(control->boards->deaths.find("sb-1")->cause == DeathCause::vm_exit);
}

TEST_CASE_METHOD(DirectoryFixture, "a node tells after it connected anew why a sandbox ended meanwhile", "[cluster]") {
  have(node, "sb-1");
  die(node);

  connect(node, {}, {template_of("busybox", "version 1")});
  CHECK(status_of("sb-1") == "none");
  auto told = ended("sb-1", DeathCause::expired);
  told.gone_sandboxes.clear();
  tell(node, told);

  REQUIRE(control->boards->deaths.find("sb-1"));
  CHECK(control->boards->deaths.find("sb-1")->cause == DeathCause::expired);
}

TEST_CASE_METHOD(DirectoryFixture, "a sandbox that is deleted while its node is away was lost with it", "[cluster]") {
  have(node, "sb-1");
  die(node);

  const auto removed = remove("sb-1");

  REQUIRE(removed->has_value());
  REQUIRE(control->boards->deaths.find("sb-1"));
  const auto death = *control->boards->deaths.find("sb-1");
  CHECK(death.cause == DeathCause::node_lost);
  CHECK(death.owner == "ann");
  CHECK(death.reason.find("n1") != std::string::npos);
  SECTION("whatever the node says later") {
    connect(node, {sandbox_of("sb-1")}, {template_of("busybox", "version 1")});
    tell(node, ended("sb-1", DeathCause::asked));
    CHECK(control->boards->deaths.find("sb-1")->cause == DeathCause::node_lost);
  }
}
