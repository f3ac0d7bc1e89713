#include "pipeline/insight/sandbox_death.hpp"

#include <catch2/catch.hpp>

using namespace nanobox;

namespace {

SandboxDeath example() {
  return {.id = "sb-1",
          .owner = "ann",
          .template_name = "web",
          .node_id = "n1",
          .cause = DeathCause::out_of_memory,
          .reason = "it had \"none\" left",
          .boot_path = "snapshot",
          .resources = {.vcpu = 2, .memory_mb = 256, .disk_mb = 1024},
          .created_at = WallTime(std::chrono::milliseconds(1000)),
          .ended_at = WallTime(std::chrono::milliseconds(61'000)),
          .console = "last\nlines\n",
          .usage = SandboxUsage{.wall_ms = 60'000, .cpu_ms = 12, .memory_peak_bytes = 1 << 20, .disk_bytes = 4096}};
}

}  // namespace

TEST_CASE("the record of an ended sandbox is read again as it was written", "[insight]") {
  auto death = example();
  CHECK(death_from_record(death_to_record(death)) == death);
  death.usage.reset();
  CHECK(death_from_record(death_to_record(death)) == death);
  CHECK_FALSE(death_from_record("{}"));
  CHECK_FALSE(death_from_record("no JSON"));
}

TEST_CASE("every cause is read again", "[insight]") {
  for (auto cause = DeathCause::asked; cause <= DeathCause::failed;
       cause = static_cast<DeathCause>(static_cast<int>(cause) + 1)) {
    auto death = example();
    death.cause = cause;
    CHECK(death_from_record(death_to_record(death)) == death);
  }
}

TEST_CASE("an ended sandbox is shown with its cause, and with null where its usage is not known", "[insight]") {
  auto death = example();
  const auto shown = to_json(death);
  CHECK(shown.find(R"("cause":"out_of_memory")") != std::string::npos);
  CHECK(shown.find(R"("usage":{"wall_ms":60000,"cpu_ms":12,"memory_peak_bytes":1048576,"disk_bytes":4096})") !=
        std::string::npos);
  death.usage.reset();
  CHECK(to_json(death).find(R"("usage":null)") != std::string::npos);
}
