#include "pipeline/cluster/lineage/lineage_artifacts.hpp"

#include <catch2/catch.hpp>

using namespace nanobox;
namespace fs = std::filesystem;

namespace {

const LineageFolders kThere{.snapshots = "/srv/there/snapshots", .layers = "/srv/there/rootfs/.layers"};
const LineageFolders kHere{.snapshots = "/data/snapshots", .layers = "/fast/layers"};

SandboxLineage lineage_in(const LineageFolders& folders) {
  return {
      .snapshot = folders.snapshots / "templates/abc-01/1-128",
      .memory_layer = folders.snapshots / "sandboxes/sb-1-02/pages",
      .disk_layers = {folders.snapshots / "templates/own-03/disk.qcow2",
                      folders.snapshots / "templates/abc-01/1-128/disk.qcow2", folders.layers / "layer-04/disk.qcow2"},
      .paused_state = folders.snapshots / "sandboxes/sb-1-02"};
}

}  // namespace

TEST_CASE("a lineage is the artifacts that a sandbox at rest stands on, each once") {
  const auto names = lineage_artifacts(lineage_in(kThere));

  REQUIRE(names);
  CHECK(*names == std::vector<std::string>{"snapshot.abc-01.1-128", "disk.own-03", "layer.layer-04", "saved.sb-1-02"});
}

TEST_CASE("a lineage of one node is that of another in its folders") {
  const auto local = localized(lineage_in(kThere), kHere);

  REQUIRE(local);
  CHECK(*local == lineage_in(kHere));
}

TEST_CASE("one that booted cold and was never saved stands on nothing") {
  const auto names = lineage_artifacts({});

  REQUIRE(names);
  CHECK(names->empty());
  CHECK(*localized({}, kHere) == SandboxLineage{});
}

TEST_CASE("an artifact's name says where its files are") {
  const auto snapshot = lineage_place("snapshot.abc-01.1-128", kHere);
  REQUIRE(snapshot);
  CHECK(snapshot->folder == "/data/snapshots/templates/abc-01/1-128");
  CHECK(snapshot->is_folder);
  CHECK(snapshot->files.back() == "manifest.json");

  const auto layer = lineage_place("layer.layer-04", kHere);
  REQUIRE(layer);
  CHECK(layer->folder == "/fast/layers/layer-04");
  CHECK(layer->files == std::vector<std::string>{"disk.qcow2"});
  CHECK_FALSE(layer->is_folder);

  CHECK(lineage_place(snapshot_artifact("abc-01", {.vcpu = 2, .memory_mb = 512, .disk_mb = 1024}), kHere)->folder ==
        "/data/snapshots/templates/abc-01/2-512");
  CHECK(lineage_place(template_disk_artifact("own-03"), kHere)->folder == "/data/snapshots/templates/own-03");
}

TEST_CASE("no name leads out of the folders") {
  for (const auto* name :
       {"", "snapshot.", "snapshot.a", "snapshot.a.", "snapshot..1-128", "snapshot.a.b.c", "layer.", "layer...",
        "layer.a/b", "layer./etc", "layer.a.b", "saved...", "saved.-a", "disk.../..", "root.abc", "0123456789abcdef"})
    CHECK_FALSE(lineage_place(name, kHere));
}

TEST_CASE("a lineage with a path that no node has is refused") {
  auto odd_snapshot = lineage_in(kThere), odd_layer = odd_snapshot, odd_state = odd_snapshot, odd_memory = odd_snapshot;
  odd_snapshot.snapshot = "/etc/passwd";
  odd_layer.disk_layers.push_back("/var/lib/layer/disk.raw");
  odd_state.paused_state = "/data/snapshots/templates/abc";
  odd_memory.memory_layer = "/pages";

  for (const auto& odd : {odd_snapshot, odd_layer, odd_state, odd_memory}) {
    CHECK_FALSE(lineage_artifacts(odd));
    CHECK_FALSE(localized(odd, kHere));
  }
}

TEST_CASE("a path with parts that are no names is not followed") {
  auto odd = lineage_in(kThere);
  odd.disk_layers = {"/x/../../../etc/../disk.qcow2"};

  CHECK_FALSE(localized(odd, kHere));
}

TEST_CASE("a saved state's name says whose it is") {
  Sandbox sandbox;
  sandbox.id = "sb-01m8";
  sandbox.lineage.paused_state = "/data/snapshots/sandboxes/sb-01m8-01n9";

  CHECK(saved_name(sandbox) == "sb-01m8-01n9");
  CHECK(sandbox_of_saved("sb-01m8-01n9") == "sb-01m8");
  CHECK(sandbox_of_saved("odd").empty() == false);
  CHECK(sandbox_of_saved("").empty());
}
