#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "resources_fixture.hpp"

namespace nanobox::test {

namespace fs = std::filesystem;

TEST_CASE_METHOD(Resources, "every state of a sandbox is counted", "[http][resources]") {
  set_status(SandboxStatus::paused);
  const auto stats = get("/stats");
  for (const char* state : {"creating", "running", "pausing", "resuming", "stopping", "failed"})
    CHECK(stats.at("/sandboxes/" + std::string(state)) == "0");
  CHECK(stats.at("/sandboxes/paused") == "1");
}

TEST_CASE_METHOD(Resources, "pools are the admin's and their owner's to see", "[http][resources]") {
  PoolState pool{.owner = "admin", .template_name = "web", .ready = 1, .min_ready = 2, .max_ready = 4, .problem = ""};
  auto here = *boards->nodes.find("here");
  here.pools.push_back(pool);
  pool.owner = "ann";
  pool.problem = "the disk is full";
  here.pools.push_back(pool);
  boards->nodes.publish("here", here);
  const auto all = get("/stats");
  REQUIRE(all.size_of("/pools") == 2);
  CHECK(all.text.find(R"({"template":"web","ready":1,"min_ready":2,"max_ready":4})") != std::string::npos);
  CHECK(all.at("/pools/1/problem") == "the disk is full");
  CHECK(get("/nodes/here").size_of("/pools") == 2);
  const auto hers = get("/stats", "bbbb");
  REQUIRE(hers.size_of("/pools") == 1);
  CHECK(hers.at("/pools/0/problem") == "the disk is full");
}

TEST_CASE_METHOD(Resources, "pools of a lost node are not counted", "[http][resources]") {
  const PoolState pool{
      .owner = "admin", .template_name = "web", .ready = 1, .min_ready = 2, .max_ready = 4, .problem = ""};
  auto here = *boards->nodes.find("here");
  here.pools.push_back(pool);
  boards->nodes.publish("here", here);
  auto lost = here;
  lost.node_id = "away";
  lost.state = NodeState::lost;
  boards->nodes.publish("away", lost);
  CHECK(get("/stats").text.find(R"({"template":"web","ready":1,"min_ready":2,"max_ready":4})") != std::string::npos);
}

TEST_CASE_METHOD(Resources, "a paused sandbox takes no processor and no memory, but its disk", "[http][resources]") {
  const auto used = [&](const char* what) {
    return get("/nodes/here").number_at("/resources/used/" + std::string(what));
  };
  CHECK(used("memory_mb") > 0);
  CHECK(used("vcpu") > 0);
  const auto disk_mb = used("disk_mb");
  set_status(SandboxStatus::paused);
  CHECK(used("memory_mb") == 0);
  CHECK(used("vcpu") == 0);
  CHECK(used("disk_mb") == disk_mb);
  CHECK(get("/nodes/here").at("/sandboxes") == "1");
}

TEST_CASE_METHOD(Resources, "snapshots count by what they take on disk", "[http][resources]") {
  std::string name = fs::temp_directory_path() / "nanobox-stats-XXXXXX";
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  const fs::path folder = name;
  services().snapshots_folder = folder;
  CHECK(get("/stats").at("/snapshot_bytes") == "0");
  fs::create_directories(folder / "templates/key");
  {
    UniqueFd file{::open((folder / "templates/key/mem").c_str(), O_CREAT | O_WRONLY, 0600)};
    REQUIRE(::ftruncate(file.get(), 1 << 30) == 0);
    const std::string bytes(64 << 10, 'x');
    REQUIRE(::pwrite(file.get(), bytes.data(), bytes.size(), 1 << 20) == static_cast<ssize_t>(bytes.size()));
    REQUIRE(::fsync(file.get()) == 0);
  }
  fs::create_hard_link(folder / "templates/key/mem", folder / "same");
  fs::create_symlink("/", folder / "elsewhere");
  const auto bytes = get("/stats").number_at("/snapshot_bytes");
  CHECK(bytes >= 64 << 10);
  CHECK(bytes < 128 << 10);
  services().snapshots_folder = folder / "gone";
  CHECK(get("/stats").at("/snapshot_bytes") == "0");
  fs::remove_all(folder);
}

}  // namespace nanobox::test
