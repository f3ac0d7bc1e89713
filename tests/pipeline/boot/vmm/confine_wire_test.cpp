#include <catch2/catch.hpp>

#include "pipeline/boot/vmm/vm_parent/launch.hpp"

using namespace nanobox;

namespace {

Launch example() {
  Launch launch;
  launch.name = "sb-1";
  launch.program = "/vmm";
  launch.argv = {"/vmm", "", "-x"};
  launch.env = {"A=b"};
  launch.uid = 61'000;
  launch.gid = 61'001;
  launch.root = {{.kind = 1, .source = "/a", .target = "/b", .read_only = false}};
  launch.descriptor_targets = {3, 9};
  launch.cgroup_count = 2;
  launch.limits = {{7, 1024}};
  launch.oom_score_adj = -3;
  launch.seccomp = std::string("\0\1\2", 3);
  return launch;
}

}  // namespace

TEST_CASE("a launch arrives as it was sent", "[confine]") {
  const auto bytes = to_bytes(example());
  const auto launch = launch_from_bytes(bytes);
  REQUIRE(launch);
  CHECK(to_bytes(*launch) == bytes);
  CHECK(launch->argv == example().argv);
  CHECK(launch->oom_score_adj == -3);
  CHECK_FALSE(launch->root[0].read_only);
}

TEST_CASE("a launch that is cut short, too long or of another build is refused", "[confine]") {
  const auto bytes = to_bytes(example());
  for (std::size_t size = 0; size < bytes.size(); ++size) CHECK_FALSE(launch_from_bytes(bytes.substr(0, size)));
  CHECK_FALSE(launch_from_bytes(bytes + "x"));
  auto other = bytes;
  other[0] ^= 1;
  CHECK_FALSE(launch_from_bytes(other));
}

TEST_CASE("a report carries the processes or the whole error", "[confine]") {
  const auto good = launch_report_from_bytes(to_bytes(Result<LaunchReport>{LaunchReport{12, 11}}));
  REQUIRE(good);
  CHECK(good->vmm == 12);
  CHECK(good->parent == 11);
  const auto bad = launch_report_from_bytes(to_bytes(
      Error{.code = ErrorCode::vmm_missing, .attempted = "run", .subject = "/vmm", .reason = "why", .mend = "how"}));
  REQUIRE_FALSE(bad);
  CHECK(bad.error().code == ErrorCode::vmm_missing);
  CHECK(describe(bad.error()) == "run /vmm: why (how)");
  CHECK(launch_report_from_bytes("").error().code == ErrorCode::vmm_failed);
}
