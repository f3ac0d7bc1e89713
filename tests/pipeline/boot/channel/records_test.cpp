#include "pipeline/boot/channel/records.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "guest/protocol.h"
#include "tests/pipeline/boot/channel/known_answers.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

std::vector<std::byte> known_record(const std::string& name) {
  for (const auto& known : known_frames())
    if (known.name == name) {
      const auto bytes = std::as_bytes(std::span(known.payload));
      return {bytes.begin(), bytes.end()};
    }
  throw std::runtime_error("no known frame " + name);
}

}  // namespace

TEST_CASE("records are found in pieces of any size", "[channel]") {
  auto bytes = known_record("process_record");
  const auto second = known_record("file_record");
  bytes.insert(bytes.end(), second.begin(), second.end());
  const auto piece = GENERATE(std::size_t{1}, std::size_t{5}, std::size_t{4096});
  RecordReader reader;
  std::vector<std::vector<std::byte>> records;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    reader.feed(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    while (const auto record = *reader.next()) records.emplace_back(record->begin(), record->end());
  }
  REQUIRE(records.size() == 2);
  CHECK(reader.finish());

  const auto process = read_process(records[0]);
  REQUIRE(process);
  CHECK(process->process_id == "pr-1");
  CHECK(process->pid == 77);
  CHECK(process->argv == std::vector<std::string>{"sh", "-c"});
  CHECK(process->detached);
  CHECK(process->ended);
  CHECK(process->exit_code == 3);
  CHECK(process->output_bytes == 14);
  CHECK(process->started_ns == 1'700'000'000'000'000'000);
  const auto file = read_file_entry(records[1]);
  REQUIRE(file);
  CHECK(file->name == "link");
  CHECK(file->info.target == "../away");
}

TEST_CASE("a record that lies about itself is refused", "[channel]") {
  RecordReader reader;
  SECTION("by its length") {
    std::uint8_t head[4];
    nanobox_put32(head, NANOBOX_RECORD_MAX + 1);
    reader.feed(std::as_bytes(std::span(head)));
    CHECK(reader.next().error().code == ErrorCode::guest_protocol);
  }
  SECTION("by ending too early") {
    const auto bytes = known_record("file_record");
    reader.feed(std::span(bytes).first(bytes.size() - 1));
    CHECK_FALSE(reader.next()->has_value());
    CHECK(reader.finish().error().code == ErrorCode::guest_protocol);
  }
  SECTION("by a name that leads elsewhere") {
    const std::string name = GENERATE("", ".", "..", "a/b");
    TlvWriter record;
    record.put(NANOBOX_TAG_NAME, name);
    CHECK(read_file_entry(record.bytes()).error().code == ErrorCode::guest_protocol);
  }
  SECTION("by a list that is cut off") {
    const auto bytes = known_record("process_record");
    CHECK(read_process(std::span(bytes).subspan(4, 25)).error().code == ErrorCode::guest_protocol);
  }
}
