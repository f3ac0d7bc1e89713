#include "pipeline/cluster/identity/join_protocol.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

using namespace nanobox;

namespace {

/// Gives what it was made with, at most three bytes at once, and keeps what is written.
class TextStream : public ByteStream {
public:
  explicit TextStream(std::string text) : text_(std::move(text)) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    const auto count = std::min({into.size(), std::size_t{3}, text_.size()});
    std::memcpy(into.data(), text_.data(), count);
    text_.erase(0, count);
    return count;
  }
  Result<void> write(std::span<const std::byte> bytes) override {
    text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  void cut() override {}
  const std::string& text() const { return text_; }

private:
  std::string text_;
};

const JoinRequest kRequest{.program_version = "0.1.0", .token = "secret", .csr = "line\nline\n", .node_id = "node-1"};
const JoinAnswer kAnswer{.certificate = "a\n",
                         .ca_certificate = "b\n",
                         .grant = {.node_id = "node-1",
                                   .subnet_part = "10.100.4.0/22",
                                   .cluster_subnet = "10.100.0.0/16",
                                   .listen_addr = "127.0.0.1:7000"}};

std::string with(std::string text, const std::string& old_part, const std::string& new_part) {
  const auto at = text.find(old_part);
  REQUIRE(at != std::string::npos);
  return text.replace(at, old_part.size(), new_part);
}

ErrorCode code_of(const auto& result) {
  return result ? ErrorCode::none_reserved : result.error().code;
}

}  // namespace

TEST_CASE("requests and answers are read as they were written", "[join_protocol]") {
  CHECK(parse_join_request(to_json(kRequest), "0.1.0").value() == kRequest);
  CHECK(parse_join_reply(to_json(kAnswer), "0.1.0").value() == kAnswer);
}

TEST_CASE("another version is refused before anything else, and both are named", "[join_protocol]") {
  const auto request = parse_join_request(R"({"protocol":2,"program":"0.9.0","new":[]})", "0.1.0");
  REQUIRE_FALSE(request);
  CHECK(request.error().code == ErrorCode::version_incompatible);
  CHECK(request.error().reason.find("version 2 (NanoBox 0.9.0)") != std::string::npos);
  CHECK(request.error().reason.find("version 1 (NanoBox 0.1.0)") != std::string::npos);
  const auto reply = parse_join_reply(R"({"protocol":7,"what":1})", "0.1.0");
  REQUIRE_FALSE(reply);
  CHECK(reply.error().code == ErrorCode::version_incompatible);
  CHECK(reply.error().reason.find("version 7") != std::string::npos);
}

TEST_CASE("a refusal keeps its code, reason and mend, also that of another version", "[join_protocol]") {
  const Error refusal{.code = ErrorCode::node_exists,
                      .attempted = "join",
                      .subject = "x",
                      .reason = "another has this id",
                      .mend = "take another id",
                      .transient = true};
  const auto read = parse_join_reply(with(refusal_json(refusal), "\"protocol\":1", "\"protocol\":9"), "0.1.0");
  REQUIRE_FALSE(read);
  CHECK(read.error().code == ErrorCode::node_exists);
  CHECK(read.error().reason == refusal.reason);
  CHECK(read.error().mend == refusal.mend);
  CHECK(read.error().transient);
  CHECK(code_of(parse_join_reply(R"({"protocol":1,"error":{"code":"of the future"}})", "")) == ErrorCode::internal);
  CHECK(code_of(parse_join_reply(R"({"error":7})", "")) == ErrorCode::internal);
}

TEST_CASE("a refusal is valid JSON of bounded length whatever its reason holds", "[join_protocol]") {
  for (const auto& reason : {std::string("/tmp/\xff\xfe"), std::string(100'000, 'x'),
                             std::string(4095, 'x') + "\xc3\xa4", std::string("a\0b\n", 4)}) {
    const auto text =
        refusal_json({.code = ErrorCode::io_failed, .attempted = "", .subject = "", .reason = reason, .mend = reason});
    CHECK(text.size() <= longest_join_message);
    CHECK(code_of(parse_join_reply(text, "")) == ErrorCode::io_failed);
  }
}

TEST_CASE("what a request must not be is refused", "[join_protocol]") {
  const auto good = to_json(kRequest);
  for (const auto& wrong :
       {std::string(), std::string("[]"), std::string("{"), good + "x", "\xff" + good, std::string(60'000, '[')}) {
    const auto code = code_of(parse_join_request(wrong, ""));
    CHECK((code == ErrorCode::malformed_json || code == ErrorCode::malformed_request));
  }
  for (const auto& wrong :
       {with(good, "\"protocol\":1", "\"protocol\":\"1\""), with(good, "\"protocol\":1", "\"protocol\":-1"),
        with(good, "\"protocol\":1", "\"protocol\":1,\"x\":1"), with(good, "\"token\":\"secret\"", "\"token\":7"),
        with(good, "\"token\":\"secret\",", ""), with(good, "\"token\"", "\"token\":\"a\",\"token\""),
        with(good, "secret", std::string(300, 's')), with(good, "secret", "a\\u0000b"), with(good, "node-1", "../node"),
        with(good, "node-1", std::string(65, 'n')), with(good, "line", std::string(17 << 10, 'l'))})
    CHECK(code_of(parse_join_request(wrong, "")) == ErrorCode::malformed_request);
  CHECK(parse_join_request(with(good, "node-1", ""), ""));
}

TEST_CASE("what an answer must not be is refused", "[join_protocol]") {
  const auto good = to_json(kAnswer);
  for (const auto& wrong : {with(good, "10.100.4.0/22", "10.101.4.0/22"), with(good, "10.100.4.0/22", "10.100.0.0/15"),
                            with(good, "10.100.4.0/22", "10.100.4.1/22"), with(good, "10.100.0.0/16", "all"),
                            with(good, "127.0.0.1:7000", "127.0.0.1:0"), with(good, "127.0.0.1:7000", "127.0.0.1"),
                            with(good, "\"node-1\"", "\"\""), with(good, "\"node-1\"", "null")})
    CHECK(code_of(parse_join_reply(wrong, "")) == ErrorCode::malformed_request);
}

TEST_CASE("messages go behind their length, in pieces as they come", "[join_protocol]") {
  TextStream stream("");
  REQUIRE(send_message(stream, "hello"));
  REQUIRE(send_message(stream, ""));
  CHECK(stream.text() == std::string("\0\0\0\5hello\0\0\0\0", 13));
  CHECK(receive_message(stream).value() == "hello");
  CHECK(receive_message(stream).value().empty());
  CHECK(code_of(receive_message(stream)) == ErrorCode::connection_lost);
}

TEST_CASE("a message that is cut or announces too much is refused", "[join_protocol]") {
  TextStream cut(std::string("\0\0\0\5hell", 8));
  CHECK(code_of(receive_message(cut)) == ErrorCode::connection_lost);
  TextStream large(std::string("\0\1\0\1", 4));
  CHECK(code_of(receive_message(large)) == ErrorCode::body_too_large);
  TextStream most(std::string("\0\1\0\0", 4) + std::string(65536, 'x'));
  CHECK(receive_message(most).value().size() == 65536);
  CHECK(code_of(send_message(most, std::string(65537, 'x'))) == ErrorCode::body_too_large);
}
