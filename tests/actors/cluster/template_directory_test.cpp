#include "tests/actors/cluster/cluster_fixture.hpp"

using namespace nanobox;

namespace {

class TemplatesFixture : public nanobox::test::ClusterFixture {
protected:
  TemplatesFixture() {
    home = join("n1");
    connect(home);
    warm_up(home);
    other = join("n2");
    connect(other);
  }
  std::string version() const {
    const auto entry = control->boards->templates.find("ann/busybox");
    return entry && entry->usable() ? entry->rootfs.identity : "none";
  }

  nanobox::test::SharedNode home, other;
};

}  // namespace

TEST_CASE_METHOD(TemplatesFixture, "another version counts from the home alone", "[cluster]") {
  tell(other, template_of("busybox", "another"));
  CHECK(version() == "version 1");
  die(home);
  CHECK(version() == "none");

  connect(home, {}, {template_of("busybox", "version 2")});
  CHECK(version() == "version 2");
}

TEST_CASE_METHOD(TemplatesFixture, "a copy serves while the home is away", "[cluster]") {
  tell(other, template_of("busybox", "version 1"));
  die(home);
  CHECK(version() == "version 1");
}

TEST_CASE_METHOD(TemplatesFixture, "a node that is removed takes what it alone had along", "[cluster]") {
  SECTION("it alone had it") {
    die(home);
    REQUIRE(ask<void>(nodes, remove_atom_v, std::string("n1"))->value().has_value());
    CHECK_FALSE(control->boards->templates.find("ann/busybox"));
  }
  SECTION("another has it too") {
    tell(other, template_of("busybox", "version 1"));
    die(home);
    REQUIRE(ask<void>(nodes, remove_atom_v, std::string("n1"))->value().has_value());
    CHECK(version() == "version 1");
    tell(other, template_of("busybox", "version 2"));
    CHECK(version() == "version 2");
  }
}

TEST_CASE_METHOD(TemplatesFixture,
                 "a template that was removed while a node was away is removed there, whatever its clock says",
                 "[cluster]") {
  tell(other, template_of("busybox", "version 1"));
  die(other);
  REQUIRE(ask<void>(templates, remove_atom_v, std::string("ann"), std::string("busybox"), false)->value().has_value());
  auto kept = template_of("busybox", "version 1");
  kept.updated_at = wall_now() + std::chrono::hours(1);

  connect(other, {}, {kept});

  CHECK(other->count("remove template busybox") == 1);
  CHECK_FALSE(control->boards->templates.find("ann/busybox"));
}

TEST_CASE_METHOD(TemplatesFixture, "a template that nobody asked a node for is none", "[cluster]") {
  auto forged = template_of("forged", "version 1");
  tell(other, forged);
  CHECK(other->count("remove template forged") == 1);
  CHECK_FALSE(control->boards->templates.find("ann/forged"));

  SECTION("made of a sandbox it is one") {
    have(home, "sb-1");
    const auto made = ask<Template>(sandboxes, snapshot_atom_v, std::string("sb-1"), std::string("mine"));
    tell(other, template_of("mine", "version 1"));
    CHECK_FALSE(control->boards->templates.find("ann/mine"));
    tell(home, template_of("mine", "version 1"));
    CHECK(control->boards->templates.find("ann/mine"));
  }
}

TEST_CASE_METHOD(TemplatesFixture, "the board of templates is right after its directory died", "[cluster]") {
  control->boards->templates.publish("ann/unstored", template_of("unstored", "version 1"));

  kill("template_directory");

  CHECK_FALSE(control->boards->templates.find("ann/unstored"));
  CHECK(version() == "none");
  connect(home, {}, {template_of("busybox", "version 1")});
  CHECK(version() == "version 1");
}
