#include "pipeline/boot/network/dns/fair_share.hpp"

#include <catch2/catch.hpp>

#include "pipeline/boot/network/dns/rate_limit.hpp"

using namespace nanobox;
using namespace std::chrono_literals;
using Verdict = FairShare::Verdict;

namespace {

void take(FairShare& share, std::uint32_t client, int places) {
  for (int i = 0; i < places; ++i) share.add(client);
}

}  // namespace

TEST_CASE("a client gets its places and no more", "[dns]") {
  FairShare share(10, 3);
  take(share, 1, 3);
  CHECK(share.ask(1).verdict == Verdict::refuse);
  CHECK(share.ask(2).verdict == Verdict::admit);
  share.remove(1);
  CHECK(share.ask(1).verdict == Verdict::admit);
}

TEST_CASE("when all places are taken, who has most gives one up", "[dns]") {
  FairShare share(6, 4);
  take(share, 1, 4);
  take(share, 2, 2);
  const auto admission = share.ask(3);
  CHECK(admission.verdict == Verdict::displace);
  CHECK(admission.displaced == 1);
  CHECK(share.ask(2).verdict == Verdict::displace);
  CHECK(share.ask(1).verdict == Verdict::refuse);
}

TEST_CASE("nobody is displaced by one that has as much", "[dns]") {
  FairShare share(4, 4);
  take(share, 1, 2);
  take(share, 2, 2);
  CHECK(share.ask(1).verdict == Verdict::refuse);
  share.remove(1);
  share.add(2);
  CHECK(share.ask(1).verdict == Verdict::displace);
}

TEST_CASE("places of nobody are not given back", "[dns]") {
  FairShare share(4, 4);
  share.remove(1);
  CHECK(share.taken() == 0);
  CHECK(share.taken_by(1) == 0);
}

TEST_CASE("a burst is let through, then so many a second", "[dns]") {
  RateLimit rate(2, 3);
  const RateLimit::Time start{};
  for (int i = 0; i < 3; ++i) CHECK(rate.take(1, start));
  CHECK_FALSE(rate.take(1, start));
  CHECK(rate.take(2, start));
  CHECK(rate.take(1, start + 500ms));
  CHECK_FALSE(rate.take(1, start + 600ms));
  for (int i = 0; i < 3; ++i) CHECK(rate.take(1, start + 1h));
  CHECK_FALSE(rate.take(1, start + 1h));
}

TEST_CASE("clients that ask no more are forgotten", "[dns]") {
  RateLimit rate(1, 1);
  const RateLimit::Time start{};
  for (std::uint32_t client = 0; client < 1024; ++client) rate.take(client, start);
  rate.take(5000, start + 1min);
  CHECK(rate.size() == 1);
}
