#include <catch2/catch.hpp>
#include <cerrno>
#include <set>

#include "config/clock.hpp"
#include "config/error.hpp"
#include "config/id.hpp"

using namespace nanobox;

TEST_CASE("an id is its prefix and a lower-case ULID, and no two are equal", "[id]") {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(make_id("sb"));
  CHECK(ids.size() == 1000);
  for (const auto& id : ids) REQUIRE(is_id(id, "sb"));
  CHECK_FALSE(is_id(*ids.begin(), "op"));
  CHECK_FALSE(is_id("sb-01JQAAAAAAAAAAAAAAAAAAAAAA", "sb"));
}

TEST_CASE("times are RFC 3339 in UTC with milliseconds, both ways", "[clock]") {
  const auto time = from_rfc3339("2026-11-24T22:56:29.007Z");
  REQUIRE(time);
  CHECK(to_rfc3339(*time) == "2026-11-24T22:56:29.007Z");
  CHECK_FALSE(from_rfc3339("2026-02-30T00:00:00.000Z"));
  CHECK_FALSE(from_rfc3339("2026-11-24T22:56:29.007Zx"));
}

TEST_CASE("an error reads as one sentence with its mend", "[error]") {
  const Error error = errno_error(ENOSPC, "write blob", "sha256:00");
  CHECK(error.code == ErrorCode::disk_full);
  CHECK(describe(error).starts_with("write blob sha256:00: No space left on device ("));
  CHECK(to_string(ErrorCode::template_not_found) == "template_not_found");
}
