#include "pipeline/cluster/identity/join_token.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <latch>
#include <thread>
#include <vector>

#include "../../store/store_folder.hpp"
#include "config/sha256.hpp"
#include "pipeline/store/control_store.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

const std::string kDigest(64, 'a');
constexpr WallTime kNoon{1'700'000'000'000ms};

struct Tokens {
  test::StoreFolder folder;
  std::shared_ptr<ControlStore> store = ControlStore::open(folder / "control.db").value();

  JoinToken issue(WallTime now = kNoon) { return issue_token(*store, kDigest, 1h, now).value(); }
  ErrorCode redeem(const JoinToken& token, WallTime now = kNoon) {
    const auto redeemed = redeem_token(*store, token.secret, now);
    return redeemed ? ErrorCode::none_reserved : redeemed.error().code;
  }
};

}  // namespace

TEST_CASE_METHOD(Tokens, "a token is read as it was written, with white space around it", "[token]") {
  const auto token = issue();
  const auto text = to_string(token);
  CHECK(text == "nbx1_" + kDigest + "_" + token.secret);
  CHECK(parse_join_token("\n " + text + "\r\n").value() == token);
}

TEST_CASE_METHOD(Tokens, "what is no token is refused without repeating it", "[token]") {
  const auto text = to_string(issue());
  auto upper = text;
  upper.back() = 'F';
  for (const auto& wrong :
       {std::string(), std::string("  "), std::string("nbx1_"), text.substr(1), text.substr(0, text.size() - 1),
        text + "0", "nbx2_" + text.substr(5), upper, text.substr(0, 69) + "-" + text.substr(70)}) {
    const auto refused = parse_join_token(wrong);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::token_invalid);
    CHECK_FALSE(refused.error().mend.empty());
    CHECK(describe(refused.error()).find(text.substr(70, 32)) == std::string::npos);
  }
}

TEST_CASE_METHOD(Tokens, "the store keeps a token's SHA-256 only", "[token]") {
  const auto token = issue();
  const auto rows = all_records(*store, "join_token").value();
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].key == sha256_hex(token.secret));
  CHECK(rows[0].value.find(token.secret) == std::string::npos);
}

TEST_CASE_METHOD(Tokens, "a token is good once, until it expires, and never where it was not made", "[token]") {
  const auto token = issue();
  CHECK(redeem(token, kNoon + 59min) == ErrorCode::none_reserved);
  CHECK(redeem(token, kNoon + 59min) == ErrorCode::token_invalid);
  const auto late = issue();
  CHECK(redeem(late, kNoon + 1h) == ErrorCode::token_expired);
  CHECK(redeem({kDigest, std::string(64, '0')}) == ErrorCode::token_invalid);
  CHECK(redeem({kDigest, ""}) == ErrorCode::token_invalid);
}

TEST_CASE_METHOD(Tokens, "a token given back is good once more", "[token]") {
  const auto token = issue();
  const auto redeemed = redeem_token(*store, token.secret, kNoon).value();
  REQUIRE(return_token(*store, redeemed));
  CHECK(redeem(token) == ErrorCode::none_reserved);
  CHECK(redeem(token) == ErrorCode::token_invalid);
  CHECK_FALSE(return_token(*store, redeemed));
}

TEST_CASE_METHOD(Tokens, "of many who redeem one token at once, one succeeds", "[token]") {
  for (int round = 0; round < 5; ++round) {
    const auto token = issue();
    std::atomic<int> won = 0;
    std::latch together(8);
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 8; ++i)
        threads.emplace_back([&] {
          together.arrive_and_wait();
          if (redeem(token) == ErrorCode::none_reserved) ++won;
        });
    }
    CHECK(won == 1);
  }
}

TEST_CASE_METHOD(Tokens, "tokens that ended long ago are forgotten when another is made", "[token]") {
  issue(kNoon);
  issue(kNoon + 2h);
  issue(kNoon + 25h + 1ms);
  CHECK(all_records(*store, "join_token").value().size() == 2);
}
