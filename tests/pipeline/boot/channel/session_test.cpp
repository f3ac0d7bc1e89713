#include "pipeline/boot/channel/session.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "guest/protocol.h"
#include "tests/pipeline/boot/channel/known_answers.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

std::array<std::byte, 16> test_nonce() {
  std::array<std::byte, 16> nonce{};
  for (std::size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<std::byte>(i);
  return nonce;
}

/// A frame as its fields and a copy of its payload.
struct SentFrame {
  unsigned type = 0, flags = 0, part = 0;
  std::uint32_t stream = 0;
  std::vector<std::byte> payload;
};

/// A session whose guest is played by the test.
struct Talk {
  ChannelSession session{test_nonce(), false};

  Result<std::vector<ChannelEvent>> from_guest(std::uint8_t type, std::uint32_t stream,
                                               std::span<const std::byte> payload = {}, std::uint16_t part = 0,
                                               std::uint8_t flags = 0) {
    std::vector<std::byte> bytes;
    append_frame(bytes, {.type = type, .flags = flags, .part = part, .stream = stream, .payload = payload});
    return session.feed(bytes);
  }
  Result<std::vector<ChannelEvent>> data(std::uint32_t stream, std::size_t size, std::uint16_t part = 1,
                                         std::uint8_t flags = 0) {
    return from_guest(NANOBOX_DATA, stream, std::vector<std::byte>(size, std::byte{'x'}), part, flags);
  }
  std::vector<SentFrame> sent() {
    FrameDecoder decoder;
    decoder.follow();
    decoder.feed(session.take_output());
    std::vector<SentFrame> frames;
    while (const auto frame = *decoder.next())
      frames.push_back(
          {frame->type, frame->flags, frame->part, frame->stream, {frame->payload.begin(), frame->payload.end()}});
    return frames;
  }
  std::size_t sent_data(std::uint32_t stream) {
    std::size_t size = 0;
    for (const auto& frame : sent())
      if (frame.type == NANOBOX_DATA && frame.stream == stream) size += frame.payload.size();
    return size;
  }
};

/// One that is up, with one command opened.
struct OpenTalk : Talk {
  std::uint32_t stream = 0;
  OpenTalk() {
    TlvWriter payload;
    payload.put32(NANOBOX_TAG_VERSION, NANOBOX_PROTOCOL_VERSION);
    payload.put(NANOBOX_TAG_NONCE, test_nonce());
    payload.put(NANOBOX_TAG_BOOT_ID, "boot-1");
    payload.put(4711, "a tag of the future");
    const auto events = from_guest(NANOBOX_HELLO_ACK, 0, payload.bytes());
    if (!events || events->size() != 1 || !session.up()) throw std::runtime_error("not up");
    stream = *session.open_exec({.argv = {"cat"}});
    session.take_output();
  }
};

std::vector<std::byte> number_tlv(std::uint16_t tag, std::uint32_t value) {
  TlvWriter writer;
  writer.put32(tag, value);
  return writer.bytes();
}

void check_broken(const Result<std::vector<ChannelEvent>>& events, const std::string& reason) {
  REQUIRE_FALSE(events);
  CHECK(events.error().code == ErrorCode::guest_protocol);
  CHECK(events.error().reason == reason);
  CHECK_FALSE(events.error().mend.empty());
}

}  // namespace

TEST_CASE("a session begins with HELLO, after zeros where a frame may be half sent", "[channel]") {
  const auto hello = known_frames().front();
  CHECK(std::ranges::equal(ChannelSession(test_nonce(), false).take_output(), std::as_bytes(std::span(hello.bytes))));
  const auto output = ChannelSession(test_nonce(), true).take_output();
  REQUIRE(output.size() == NANOBOX_RESYNC_ZEROS + hello.bytes.size());
  CHECK(std::ranges::all_of(std::span(output).first(NANOBOX_RESYNC_ZEROS), [](auto b) { return b == std::byte{0}; }));
}

TEST_CASE("only the answer with our nonce brings the session up", "[channel]") {
  Talk talk;
  TlvWriter other;
  other.put32(NANOBOX_TAG_VERSION, NANOBOX_PROTOCOL_VERSION);
  other.put(NANOBOX_TAG_NONCE, std::array<std::byte, 16>{});
  CHECK(talk.from_guest(NANOBOX_HELLO_ACK, 0, other.bytes())->empty());
  CHECK(talk.data(1, 100)->empty());  // what a former session left
  CHECK_FALSE(talk.session.up());
  talk.session.take_output();
  talk.session.repeat_hello();
  CHECK(talk.sent().size() == 1);
  for (const auto& known : known_frames()) {
    if (known.name != "hello_ack") continue;
    const auto events = talk.session.feed(std::as_bytes(std::span(known.bytes)));
    REQUIRE(events->size() == 1);
    const auto& up = std::get<SessionUp>(events->front());
    CHECK(up.boot_id == "11111111-2222-3333-4444-555555555555");
    CHECK(up.features == 7);
  }
  CHECK(talk.session.up());
  talk.session.repeat_hello();
  CHECK(talk.sent().empty());
}

TEST_CASE("a guest of another version is refused by name", "[channel]") {
  Talk talk;
  TlvWriter payload;
  payload.put32(NANOBOX_TAG_VERSION, 9);
  payload.put(NANOBOX_TAG_NONCE, test_nonce());
  check_broken(talk.from_guest(NANOBOX_HELLO_ACK, 0, payload.bytes()), "it speaks version 9 of the protocol");
}

TEST_CASE("a command's frames are the known ones", "[channel]") {
  OpenTalk talk;
  ExecRequest request{.argv = {"/bin/echo", "hi"}, .env = {"A=b"}, .cwd = "/tmp", .user = "1000:1000"};
  request.deadline_ms = 5000;
  REQUIRE(talk.session.open_exec(request));
  const auto sent = talk.sent();
  REQUIRE(sent.size() == 1);
  for (const auto& known : known_frames())
    if (known.name == "open_exec") CHECK(std::ranges::equal(sent[0].payload, std::as_bytes(std::span(known.payload))));
}

TEST_CASE("a command answers with its pid, output and end", "[channel]") {
  OpenTalk talk;
  CHECK(std::get<Opened>(talk.from_guest(NANOBOX_OPENED, talk.stream, number_tlv(NANOBOX_TAG_PID, 77))->at(0)).pid ==
        77);
  const auto data = talk.data(talk.stream, 3, 2, NANOBOX_FLAG_LAST);
  CHECK(std::get<StreamData>(data->at(0)).part == StreamPart::stderr_part);
  CHECK(std::get<StreamData>(data->at(0)).last);
  const auto exit = talk.from_guest(NANOBOX_EXIT, talk.stream, number_tlv(NANOBOX_TAG_CODE, 3));
  CHECK(std::get<StreamExit>(exit->at(0)).exit_code == 3);
  // What comes late for it is no offence.
  CHECK(talk.data(talk.stream, 3)->empty());
  CHECK(*talk.session.open_exec({.argv = {"true"}}) == talk.stream + 1);
}

TEST_CASE("stdin waits for credit, and says how much waits", "[channel]") {
  OpenTalk talk;
  REQUIRE(talk.session.write_stdin(talk.stream, std::string(NANOBOX_INITIAL_CREDIT + 1000, 'x'), false));
  CHECK(talk.sent_data(talk.stream) == NANOBOX_INITIAL_CREDIT);
  CHECK(talk.session.stdin_queued(talk.stream) == 1000);
  const auto window = talk.from_guest(NANOBOX_WINDOW, talk.stream, number_tlv(NANOBOX_TAG_CREDIT, 600));
  CHECK(std::get<StdinWindow>(window->at(0)).queued == 400);
  CHECK(talk.sent_data(talk.stream) == 600);
  REQUIRE(talk.session.write_stdin(talk.stream, "", true));
  talk.session.take_output();
  REQUIRE(talk.from_guest(NANOBOX_WINDOW, talk.stream, number_tlv(NANOBOX_TAG_CREDIT, 600)));
  const auto sent = talk.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].payload.size() == 400);
  CHECK(sent[0].flags == NANOBOX_FLAG_LAST);

  const auto another = *talk.session.open_exec({.argv = {"cat"}});
  const std::string much(ChannelSession::stdin_queue_max, 'x');
  REQUIRE(talk.session.write_stdin(another, much, false));
  const auto refused = talk.session.write_stdin(another, much, false);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::body_too_large);
}

TEST_CASE("a closed stream is silent and leaves nothing behind", "[channel]") {
  OpenTalk talk;
  talk.session.close(talk.stream);
  CHECK(talk.sent().at(0).type == NANOBOX_CLOSE);
  talk.session.close(talk.stream);
  talk.session.signal(talk.stream, 15);
  talk.session.grant(talk.stream, 15);
  REQUIRE(talk.session.write_stdin(talk.stream, "x", true));
  CHECK(talk.sent().empty());
  CHECK(talk.data(talk.stream, 100)->empty());
  CHECK(talk.from_guest(NANOBOX_EXIT, talk.stream)->empty());
}

TEST_CASE("control requests are answered by their events", "[channel]") {
  OpenTalk talk;
  talk.session.ping(5);
  talk.session.quiesce();
  talk.session.thaw();
  talk.session.ask_stats();
  talk.session.resize(talk.stream, 80, 25);
  CHECK(talk.sent().size() == 5);
  TlvWriter clock;
  clock.put64(NANOBOX_TAG_CLOCK_NS, 5);
  CHECK(std::get<Pong>(talk.from_guest(NANOBOX_PONG, 0, clock.bytes())->at(0)).clock_ns == 5);
  CHECK(std::holds_alternative<Quiesced>(talk.from_guest(NANOBOX_QUIESCE, 0)->at(0)));
  CHECK(std::holds_alternative<Thawed>(talk.from_guest(NANOBOX_THAW, 0)->at(0)));
  CHECK(std::holds_alternative<Configured>(talk.from_guest(NANOBOX_CONFIGURE, 0)->at(0)));
  CHECK(std::holds_alternative<GuestStats>(talk.from_guest(NANOBOX_STATS, 0)->at(0)));
  CHECK(talk.from_guest(200, 0)->empty());  // a type of the future
  CHECK(talk.from_guest(200, talk.stream)->empty());
}

TEST_CASE("requests larger than a frame are refused before they are sent", "[channel]") {
  OpenTalk talk;
  const auto refused = talk.session.open_exec({.argv = {std::string(NANOBOX_FRAME_PAYLOAD_MAX, 'x')}});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::command_invalid);
  ConfigureMessage message;
  message.env.assign(100, std::string(1000, 'x'));
  CHECK(talk.session.configure(message).error().code == ErrorCode::command_invalid);
  CHECK(talk.sent().empty());
}

TEST_CASE("a guest that breaks the rules ends the session", "[channel]") {
  OpenTalk talk;
  const auto last = talk.stream;
  SECTION("by sending more than it was granted") {
    for (int i = 0; i < 4; ++i) REQUIRE(talk.data(last, NANOBOX_FRAME_PAYLOAD_MAX));
    SECTION("nothing was granted") {
      check_broken(talk.data(last, 1), "it sent more than it was granted");
    }
    SECTION("less was granted") {
      talk.session.grant(last, 100);
      REQUIRE(talk.data(last, 100, 2));
      check_broken(talk.data(last, 1, 2), "it sent more than it was granted");
    }
  }
  SECTION("by answering for a stream that was never opened") {
    check_broken(talk.data(last + 1, 1), "it answered for a stream that was never opened");
  }
  SECTION("by a stream's frame without a stream") {
    check_broken(talk.data(0, 1), "it sent a stream's frame on the control stream");
  }
  SECTION("by an unknown part") {
    check_broken(talk.data(last, 1, 7), "it sent an unknown part");
  }
  SECTION("by output after its end") {
    REQUIRE(talk.data(last, 0, 1, NANOBOX_FLAG_LAST));
    REQUIRE(talk.data(last, 1, 2));
    check_broken(talk.data(last, 1), "it sent output after its end");
  }
  SECTION("by opening twice") {
    REQUIRE(talk.from_guest(NANOBOX_OPENED, last));
    check_broken(talk.from_guest(NANOBOX_OPENED, last), "it opened a stream twice");
  }
  SECTION("by granting more than it may") {
    check_broken(talk.from_guest(NANOBOX_WINDOW, last, number_tlv(NANOBOX_TAG_CREDIT, 0xFFFFFFFF)),
                 "it granted more than it may");
  }
  SECTION("by a cut-off list") {
    const std::array<std::byte, 3> cut{};
    check_broken(talk.from_guest(NANOBOX_EXIT, last, cut), "it sent a cut-off list");
  }
  SECTION("by a list that reaches beyond its frame") {
    auto list = number_tlv(NANOBOX_TAG_CODE, 1);
    list[2] = std::byte{200};
    check_broken(talk.from_guest(NANOBOX_EXIT, last, list), "it sent a list with an entry longer than the frame");
  }
  SECTION("by a wrong checksum") {
    std::vector<std::byte> bytes(NANOBOX_FRAME_HEADER, std::byte{0});
    bytes[0] = std::byte{NANOBOX_PONG};
    check_broken(talk.session.feed(bytes), "it sent a frame with a wrong checksum");
  }
  CHECK_FALSE(talk.session.feed({}));
}
