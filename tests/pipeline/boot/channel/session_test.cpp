#include "pipeline/boot/channel/session.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <initializer_list>

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

/// The credit of the one WINDOW that was sent.
std::uint32_t granted_in(const std::vector<SentFrame>& sent) {
  if (sent.size() != 1 || sent[0].type != NANOBOX_WINDOW) throw std::runtime_error("not one WINDOW");
  return read_tlvs(sent[0].payload)->at(0).number();
}

std::span<const std::byte> known_payload(const std::string& name) {
  static const auto frames = known_frames();
  for (const auto& known : frames)
    if (known.name == name) return std::as_bytes(std::span(known.payload));
  throw std::runtime_error("no known frame " + name);
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

TEST_CASE("every kind of stream is asked for in the known form", "[channel]") {
  OpenTalk talk;
  auto& session = talk.session;
  const std::vector<std::pair<std::string, Result<std::uint32_t>>> opened = {
      {"open_exec_terminal",
       session.open_exec({.argv = {"sh"}, .process_id = "pr-1", .detached = true, .terminal = TerminalSize{132, 43}})},
      {"open_attach", session.open_attach({.process_id = "pr-1", .offset = 4096})},
      {"open_attach_pid", session.open_attach(77)},
      {"open_input", session.open_input({.process_id = "pr-1", .eof = true})},
      {"open_processes", session.open_processes()},
      {"open_signal", session.open_signal("pr-1", 15)},
      {"open_forget", session.open_forget("pr-1")},
      {"open_file_read", session.open_file_read({.path = "/etc/passwd", .user = "worker", .offset = 10, .length = 20})},
      {"open_file_write", session.open_file_write({.path = "/tmp/f", .mode = 0640})},
      {"open_file_stat", session.open_file_stat({.path = "/tmp/f"})},
      {"open_file_list", session.open_file_list({.path = "/tmp"})},
      {"open_file_remove", session.open_file_remove({.path = "/tmp/f", .recursive = true})},
      {"open_file_rename", session.open_file_rename({.path = "/tmp/f", .to = "/tmp/g", .parents = true})},
      {"open_folder_make", session.open_folder_make({.path = "/tmp/d", .parents = true})},
      {"open_archive_read", session.open_archive_read({.path = "/tmp/d"})},
      {"open_archive_write", session.open_archive_write({.path = "/tmp/d", .user = "1000"})},
      {"open_tcp", session.open_tcp(8080)},
      {"open_log", session.open_log({.offset = 5, .follow = true})}};

  auto sent = talk.sent();
  // A file's and a folder's, which are wider than the others'.
  CHECK(std::erase_if(sent, [](const SentFrame& frame) { return frame.type == NANOBOX_WINDOW; }) == 2);

  REQUIRE(sent.size() == opened.size());
  for (std::size_t i = 0; i < sent.size(); ++i) {
    INFO(opened[i].first);
    REQUIRE(opened[i].second);
    CHECK(sent[i].type == NANOBOX_OPEN);
    CHECK(sent[i].stream == *opened[i].second);
    CHECK(std::ranges::equal(sent[i].payload, known_payload(opened[i].first)));
  }
}

TEST_CASE("a file is described as the guest tells it", "[channel]") {
  OpenTalk talk;
  const auto stream = *talk.session.open_file_stat({.path = "/tmp/link"});
  const auto events = talk.from_guest(NANOBOX_OPENED, stream, known_payload("opened_stat"));
  const auto file = std::get<Opened>(events->at(0)).file;
  REQUIRE(file);
  CHECK(file->type == FileType::symlink);
  CHECK(file->size_bytes == 7);
  CHECK(file->mode == 0777);
  CHECK(file->uid == 1000);
  CHECK(file->gid == 29);
  CHECK(file->mtime_ns == -1'500'000'000);
  CHECK(file->target == "../away");
  CHECK_FALSE(
      std::get<Opened>(talk.from_guest(NANOBOX_OPENED, talk.stream, number_tlv(NANOBOX_TAG_PID, 1))->at(0)).file);
}

TEST_CASE("a reader learns where it is and what it missed", "[channel]") {
  OpenTalk talk;
  const auto stream = *talk.session.open_attach({.process_id = "pr-1", .offset = 5});
  const auto opened = talk.from_guest(NANOBOX_OPENED, stream, known_payload("opened_attach"));
  CHECK(std::get<Opened>(opened->at(0)).offset == 4100);
  CHECK(std::get<Opened>(opened->at(0)).pid == 77);
  const auto gap = talk.from_guest(NANOBOX_GAP, stream, known_payload("gap"));
  CHECK(std::get<OutputGap>(gap->at(0)).offset == 123456789);
  CHECK(std::get<OutputGap>(gap->at(0)).stream == stream);
}

TEST_CASE("a detached command's stream is over once it runs", "[channel]") {
  OpenTalk talk;
  const auto stream = *talk.session.open_exec({.argv = {"sleep"}, .process_id = "pr-1", .detached = true});
  talk.session.take_output();
  REQUIRE(talk.session.write_stdin(stream, "nobody grants this", false));
  CHECK(talk.sent().empty());
  CHECK(talk.from_guest(NANOBOX_OPENED, stream, number_tlv(NANOBOX_TAG_PID, 77))->size() == 1);
  talk.session.close(stream);
  CHECK(talk.sent().empty());
  CHECK(talk.data(stream, 10)->empty());
}

TEST_CASE("what cannot be is refused before it is sent", "[channel]") {
  OpenTalk talk;
  const auto path_code = [&](const std::string& path) {
    const auto opened = talk.session.open_file_read({.path = path});
    return opened ? ErrorCode::none_reserved : opened.error().code;
  };
  CHECK(path_code("") == ErrorCode::path_invalid);
  CHECK(path_code("relative") == ErrorCode::path_invalid);
  CHECK(path_code(std::string("/with\0nul", 9)) == ErrorCode::path_invalid);
  CHECK(path_code("/a/../b") == ErrorCode::path_invalid);
  CHECK(path_code("/..") == ErrorCode::path_invalid);
  CHECK(path_code("/" + std::string(256, 'n')) == ErrorCode::path_invalid);
  std::string deep;
  while (deep.size() < NANOBOX_PATH_MAX) deep += "/directory";
  CHECK(path_code(deep) == ErrorCode::path_invalid);
  CHECK(talk.session.open_file_rename({.path = "/a", .to = "b"}).error().code == ErrorCode::path_invalid);
  CHECK(talk.session.open_signal("", 15).error().code == ErrorCode::command_invalid);
  CHECK(talk.session.open_forget(std::string(65, 'x')).error().code == ErrorCode::command_invalid);
  CHECK(talk.session.open_attach({.process_id = std::string("a\0b", 3)}).error().code == ErrorCode::command_invalid);
  CHECK(talk.sent().empty());
  CHECK(path_code("/..a/b..//./c/" + std::string(255, 'n')) == ErrorCode::none_reserved);
  CHECK(path_code("/") == ErrorCode::none_reserved);
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

TEST_CASE("tiny frames cost credit beside their bytes, which comes back with them", "[channel]") {
  OpenTalk talk;
  std::uint32_t frames = 0;
  while (talk.data(talk.stream, 1, 1 + frames % 2)) ++frames;
  CHECK(frames == NANOBOX_INITIAL_CREDIT / (1 + NANOBOX_DATA_COST));

  OpenTalk other;
  for (int i = 0; i < 1000; ++i) REQUIRE(other.data(other.stream, 100));
  const auto granted = [&other](std::initializer_list<std::uint32_t> pieces) {
    for (const auto bytes : pieces) other.session.grant(other.stream, bytes);
    return granted_in(other.sent());
  };
  CHECK(granted({50'000}) == 50'000 + 500 * NANOBOX_DATA_COST);
  CHECK(granted({10'000, 40'000}) == 50'000 + 500 * NANOBOX_DATA_COST);
  CHECK(granted({100'000}) == 100'000);
}

TEST_CASE("a guest is told of its credit once a quarter of the window came back", "[channel]") {
  OpenTalk talk;
  constexpr std::uint32_t quarter = NANOBOX_INITIAL_CREDIT / 4;
  for (int i = 0; i < 2; ++i) REQUIRE(talk.data(talk.stream, quarter));
  talk.session.grant(talk.stream, quarter / 2);
  CHECK(talk.sent().empty());
  talk.session.grant(talk.stream, quarter / 2);
  CHECK(granted_in(talk.sent()) == quarter + NANOBOX_DATA_COST);
  talk.session.grant(talk.stream, quarter);
  CHECK(granted_in(talk.sent()) == quarter + NANOBOX_DATA_COST);
}

TEST_CASE("a file's window is wider from the beginning", "[channel]") {
  OpenTalk talk;
  const auto file = *talk.session.open_file_read({.path = "/etc/passwd"});
  const auto sent = talk.sent();
  REQUIRE(sent.size() == 2);
  CHECK(sent[0].type == NANOBOX_OPEN);
  CHECK(granted_in({sent[1]}) == ChannelSession::file_window - NANOBOX_INITIAL_CREDIT);
  std::uint32_t frames = 0;
  while (talk.data(file, NANOBOX_FRAME_PAYLOAD_MAX)) ++frames;
  CHECK(frames == ChannelSession::file_window / (NANOBOX_FRAME_PAYLOAD_MAX + NANOBOX_DATA_COST));
}

TEST_CASE("however many windows come at once, a writer is told once", "[channel]") {
  OpenTalk talk;
  const auto other = *talk.session.open_exec({.argv = {"cat"}});
  for (const auto stream : {talk.stream, other})
    REQUIRE(talk.session.write_stdin(stream, std::string(1000, 'x'), false));
  std::vector<std::byte> bytes;
  const auto window = number_tlv(NANOBOX_TAG_CREDIT, 1);
  for (int i = 0; i < 100; ++i)
    for (const auto stream : {talk.stream, other})
      append_frame(bytes, {.type = NANOBOX_WINDOW, .flags = 0, .part = 0, .stream = stream, .payload = window});
  const auto events = talk.session.feed(bytes);
  REQUIRE(events->size() == 2);
  CHECK(std::get<StdinWindow>(events->at(0)).stream == talk.stream);
  CHECK(std::get<StdinWindow>(events->at(1)).stream == other);
  CHECK(talk.session.feed(std::span(bytes).first(bytes.size() / 100))->size() == 2);
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

TEST_CASE("CONFIGURE names the disk's size only where it is known", "[channel]") {
  const auto size_in = [](const ConfigureMessage& message) -> std::optional<std::uint64_t> {
    const auto payload = encode(message).value();
    const auto entries = read_tlvs(payload).value();
    for (const auto& entry : entries)
      if (entry.tag == NANOBOX_TAG_DISK_BYTES) return entry.long_number();
    return std::nullopt;
  };
  CHECK_FALSE(size_in({}));
  CHECK(size_in({.disk_bytes = 1ULL << 33}) == 1ULL << 33);
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
    for (int i = 0; i < 3; ++i) REQUIRE(talk.data(last, NANOBOX_FRAME_PAYLOAD_MAX));
    REQUIRE(talk.data(last, NANOBOX_FRAME_PAYLOAD_MAX - 4 * NANOBOX_DATA_COST));
    SECTION("nothing was granted") {
      check_broken(talk.data(last, 1), "it sent more than it was granted");
    }
    SECTION("less was granted") {
      constexpr std::uint32_t quarter = NANOBOX_INITIAL_CREDIT / 4;
      talk.session.grant(last, quarter);
      REQUIRE(talk.data(last, quarter - NANOBOX_DATA_COST, 2));
      check_broken(talk.data(last, NANOBOX_DATA_COST, 2), "it sent more than it was granted");
    }
    SECTION("it was not told yet") {
      talk.session.grant(last, 100 + NANOBOX_DATA_COST);
      check_broken(talk.data(last, 1), "it sent more than it was granted");
    }
  }
  SECTION("by answering for a stream that was never opened") {
    check_broken(talk.data(last + 1, 1), "it answered for a stream that was never opened");
  }
  SECTION("by a stream's frame without a stream") {
    check_broken(talk.data(0, 1), "it sent a stream's frame on the control stream");
  }
  SECTION("by a gap without a stream") {
    check_broken(talk.from_guest(NANOBOX_GAP, 0), "it sent a stream's frame on the control stream");
  }
  SECTION("by granting what a reader cannot have") {
    const auto reader = *talk.session.open_attach({.process_id = "pr-1"});
    check_broken(talk.from_guest(NANOBOX_WINDOW, reader, number_tlv(NANOBOX_TAG_CREDIT, NANOBOX_INITIAL_CREDIT + 1)),
                 "it granted more than it may");
  }
  SECTION("by output without a byte in it") {
    REQUIRE(talk.data(last, 0, 2, NANOBOX_FLAG_LAST));
    check_broken(talk.data(last, 0), "it sent output without a byte in it");
  }
  SECTION("by one gap behind another") {
    REQUIRE(talk.from_guest(NANOBOX_GAP, last));
    REQUIRE(talk.data(last, 1));
    REQUIRE(talk.from_guest(NANOBOX_GAP, last));
    check_broken(talk.from_guest(NANOBOX_GAP, last), "it sent one gap behind another");
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
