#include "pipeline/boot/network/address_parts.hpp"

#include <catch2/catch.hpp>
#include <set>

namespace nanobox {
namespace {

using namespace std::chrono_literals;

const Ipv4Subnet first{0x0A000000, 29}, second{0x0A000010, 29};  // five for sandboxes each
const AddressParts::Clock::time_point start{};

TEST_CASE("addresses come from all parts that are open", "[network]") {
  AddressParts parts({first}, 10s);
  CHECK(parts.size() == 5);
  std::set<std::uint32_t> given;
  for (int i = 0; i < 5; ++i) given.insert(parts.take(start).value());
  CHECK(parts.free(start) == 0);
  CHECK(parts.take(start).error().code == ErrorCode::no_address);

  parts.set({first, second});
  CHECK((parts.size() == 10 && parts.free(start) == 5 && parts.taken() == 5));
  for (int i = 0; i < 5; ++i) given.insert(parts.take(start).value());
  CHECK(given.size() == 10);
  const auto none = parts.take(start);
  REQUIRE_FALSE(none);
  CHECK(none.error().subject == "10.0.0.0/29, 10.0.0.16/29");
  CHECK_FALSE(none.error().mend.empty());
}

TEST_CASE("a part that was taken back gives no more, but keeps what it gave", "[network]") {
  AddressParts parts({first, second}, 10s);
  REQUIRE(parts.reserve(0x0A000013));
  parts.set({first});
  CHECK(parts.open() == std::vector{first});
  CHECK((parts.size() == 5 && parts.taken() == 1));
  for (int i = 0; i < 5; ++i) CHECK(first.contains(parts.take(start).value()));
  CHECK_FALSE(parts.take(start));
  CHECK(parts.reserve(0x0A000013).error().code == ErrorCode::conflict);
  parts.release(0x0A000013, start);
  CHECK(parts.reserve(0x0A000013).error().code == ErrorCode::invalid_value);
}

TEST_CASE("who may try again is told by the part that has one soonest", "[network]") {
  AddressParts parts({first, second}, 10s);
  std::uint32_t last = 0;
  for (int i = 0; i < 10; ++i) last = parts.take(start).value();
  parts.release(last, start + 1s);
  CHECK(parts.free(start + 1s) == 0);
  const auto resting = parts.take(start + 4s);
  REQUIRE_FALSE(resting);
  CHECK((resting.error().transient && resting.error().retry_after_sec == 7));
  CHECK(parts.free(start + 11s) == 1);
}

}  // namespace
}  // namespace nanobox
