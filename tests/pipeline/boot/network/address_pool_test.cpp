#include "pipeline/boot/network/address_pool.hpp"

#include <catch2/catch.hpp>
#include <iterator>
#include <random>
#include <set>

#include "pipeline/boot/network/group_ids.hpp"

namespace nanobox {
namespace {

using namespace std::chrono_literals;

const Ipv4Subnet tiny{0x0A000000, 29};  // 10.0.0.0 to 10.0.0.7: five for sandboxes
const AddressPool::Clock::time_point start{};

TEST_CASE("a pool gives every address but the network's, the gateway's and the broadcast address", "[network]") {
  AddressPool pool(tiny, 60s);
  CHECK(pool.size() == 5);
  std::set<std::uint32_t> given;
  for (int i = 0; i < 5; ++i) given.insert(pool.take(start).value());
  CHECK(given == std::set<std::uint32_t>{0x0A000002, 0x0A000003, 0x0A000004, 0x0A000005, 0x0A000006});
  const auto none = pool.take(start);
  REQUIRE_FALSE(none);
  CHECK(none.error().code == ErrorCode::no_address);
  CHECK(none.error().subject == "10.0.0.0/29");
  CHECK_FALSE(none.error().transient);
  CHECK_FALSE(none.error().mend.empty());
}

TEST_CASE("a released address rests", "[network]") {
  AddressPool pool(tiny, 60s);
  for (int i = 0; i < 5; ++i) REQUIRE(pool.take(start));
  pool.release(0x0A000004, start + 10s);
  pool.release(0x0A000004, start + 20s);  // it is not taken any more
  const auto resting = pool.take(start + 69s);
  REQUIRE_FALSE(resting);
  CHECK(resting.error().transient);
  CHECK(resting.error().retry_after_sec == 1);
  CHECK(pool.take(start + 70s).value() == 0x0A000004);
  CHECK(pool.taken() == 5);
}

TEST_CASE("addresses go round before one comes again", "[network]") {
  AddressPool pool(tiny, 0s);
  for (std::uint32_t i = 0; i < 12; ++i) {
    const auto address = pool.take(start).value();
    CHECK(address == 0x0A000002 + i % 5);
    pool.release(address, start);
  }
}

TEST_CASE("a given address is reserved, also a resting one", "[network]") {
  AddressPool pool(tiny, 60s);
  REQUIRE(pool.reserve(0x0A000003));
  CHECK(pool.reserve(0x0A000003).error().code == ErrorCode::conflict);
  for (const std::uint32_t foreign : {0x0A000000U, 0x0A000001U, 0x0A000007U, 0x0B000003U, 0U})
    CHECK(pool.reserve(foreign).error().code == ErrorCode::invalid_value);
  CHECK(pool.take(start).value() == 0x0A000002);
  CHECK(pool.take(start).value() == 0x0A000004);
  pool.release(0x0A000003, start);
  REQUIRE(pool.reserve(0x0A000003));
  CHECK(pool.is_taken(0x0A000003));
  // Released again: it rests anew, whatever was known of it.
  pool.release(0x0A000003, start + 30s);
  CHECK(pool.take(start + 61s).value() == 0x0A000005);
  CHECK(pool.take(start + 61s).value() == 0x0A000006);
  CHECK_FALSE(pool.take(start + 61s));
  CHECK(pool.take(start + 90s).value() == 0x0A000003);
}

TEST_CASE("a group's number is its own as long as somebody is in it", "[network]") {
  GroupIds groups;
  const auto a = groups.acquire("owner/a");
  const auto b = groups.acquire("owner/b");
  CHECK(a != 0);
  CHECK(a != b);
  CHECK(groups.acquire("owner/a") == a);
  groups.release("owner/a");
  CHECK(groups.acquire("owner/a") == a);
  for (int i = 0; i < 2; ++i) groups.release("owner/a");
  groups.release("owner/a");
  CHECK(groups.acquire("owner/c") != b);
  REQUIRE(groups.adopt("owner/d", 77));
  REQUIRE(groups.adopt("owner/d", 77));
  CHECK(groups.acquire("owner/d") == 77);
  CHECK(groups.adopt("owner/d", 78).error().code == ErrorCode::conflict);
  CHECK(groups.adopt("owner/e", 77).error().code == ErrorCode::conflict);
  CHECK(groups.adopt("owner/e", 0).error().code == ErrorCode::conflict);
}

TEST_CASE("no address is given twice in 500 cycles, whenever the daemon is killed", "[network]") {
  const Ipv4Subnet subnet{.base = 0x0A640000, .prefix = 26};
  AddressPool pool(subnet, 10s);
  AddressPool::Clock::time_point now{};
  std::set<std::uint32_t> leased;  // what the store of a killed daemon says
  std::minstd_rand random(5);
  for (int cycle = 0; cycle < 500; ++cycle) {
    now += 1s;
    if (const auto taken = pool.take(now)) {
      REQUIRE(leased.insert(*taken).second);
      REQUIRE(subnet.contains(*taken));
    }
    if (leased.size() > 20 || random() % 3 == 0) {
      const auto gone = std::next(leased.begin(), static_cast<std::ptrdiff_t>(random() % leased.size()));
      pool.release(*gone, now);
      leased.erase(gone);
    }
    if (random() % 10 != 0) continue;
    pool = AddressPool(subnet, 10s);
    for (const auto address : leased) REQUIRE(pool.reserve(address));
    REQUIRE(pool.taken() == leased.size());
  }
}

}  // namespace
}  // namespace nanobox
