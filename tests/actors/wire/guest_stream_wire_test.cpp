#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstring>

#include "tests/actors/wire/wire_check.hpp"
#include "tests/actors/wire/wire_values.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

/// A length as CAF writes it.
void put_length(Wire& wire, std::uint32_t length) {
  for (; length > 0x7f; length >>= 7) wire.push_back(static_cast<char>((length & 0x7f) | 0x80));
  wire.push_back(static_cast<char>(length));
}

long resident_mb() {
  struct rusage used {};
  ::getrusage(RUSAGE_SELF, &used);
  return used.ru_maxrss / 1024;
}

}  // namespace

TEST_CASE("what a stream's two ends tell each other comes over the wire as it was, or not at all", "[wire]") {
  travels(Opened{}, full_opened());
  travels(full_opened());
  travels(StreamData{}, data_of(10));
  travels(data_of(1));
  travels(data_of(300));
  travels(OutputGap{.stream = 1, .offset = 1ULL << 40});
  travels(StdinWindow{.stream = 1, .queued = 1ULL << 40});
  travels(StreamExit{.stream = 1, .exit_code = 2, .signal = 3, .timed_out = true});
  travels(TerminalSize{.columns = 65535, .rows = 1});
  travels(ConsolePiece{.bytes = std::string("a\0\xff", 3), .end = 1ULL << 40});
}

TEST_CASE("a request for a stream stays what it is", "[wire]") {
  std::set<std::size_t> seen;
  for (const auto& request : stream_requests()) {
    seen.insert(request.index());
    travels(request, StreamRequest{TcpRequest{.port = 1}});
  }
  CHECK(seen.size() == std::variant_size_v<StreamRequest>);
}

TEST_CASE("a large piece is read in steps and whole", "[wire]") {
  const auto data = data_of((std::size_t{3} << 20) + 5);
  StreamData read;
  REQUIRE(reads(written(data), read));
  CHECK(read == data);
}

TEST_CASE("an alternative, part or type that is none is refused", "[wire]") {
  auto request = written(StreamRequest{ProcessesRequest{}});
  REQUIRE(request.size() == 1);
  for (unsigned index = std::variant_size_v<StreamRequest>; index < 256; ++index) {
    request[0] = static_cast<char>(index);
    CHECK(refused<StreamRequest>(request));
  }

  auto data = written(data_of(3));
  data[5] = 3;  // behind the stream's number, in network order
  CHECK(refused<StreamData>(data));
  data[4] = 1;
  data[5] = 1;
  CHECK(refused<StreamData>(data));

  auto opened = written(full_opened());
  REQUIRE(opened[16] == 1);  // there is a file
  opened[16] = 2;
  CHECK(refused<Opened>(opened));
  opened[16] = 1;
  opened[17] = static_cast<char>(FileType::socket) + 1;
  CHECK(refused<Opened>(opened));
}

TEST_CASE("a length that lies costs no memory", "[wire]") {
  const auto before = resident_mb();
  for (const std::uint32_t length : {0x0fffffffU, 0x7fffffffU, 0xffffffffU}) {
    Wire data{0, 0, 0, 1, 0, 1};
    put_length(data, length);
    data.push_back('x');
    CHECK(refused<StreamData>(data));

    Wire exec{0};  // the number of strings, and the length of the first
    put_length(exec, length);
    CHECK(refused<StreamRequest>(exec));
    put_length(exec, length);
    CHECK(refused<StreamRequest>(exec));

    Wire console;
    put_length(console, length);
    CHECK(refused<ConsolePiece>(console));
    CHECK(refused<Sandbox>(console));

    Wire error{1};
    for (int text = 0; text < 4; ++text) error.push_back(0);
    for (int number = 0; number < 5; ++number) error.push_back(0);
    put_length(error, length);  // of its fields
    CHECK(refused<Error>(error));
  }
  CHECK(resident_mb() - before < 32);
}

// What a stream's piece costs between nodes beside the socket. Not run by itself.
TEST_CASE("the speed of a piece", "[.measure]") {
  const auto data = data_of(std::size_t{256} << 10);
  constexpr int kTimes = 20'000;
  const auto measure = [&](const char* what, auto&& once) {
    once();
    const auto from = std::chrono::steady_clock::now();
    for (int i = 0; i < kTimes; ++i) once();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - from;
    std::printf("%s: %.2f GB/s\n", what, kTimes * static_cast<double>(data.bytes.size()) / took.count() / 1e9);
  };
  Wire wire;
  const auto write = [&] {
    wire.clear();
    caf::binary_serializer sink(nullptr, wire);
    REQUIRE_FALSE(sink(data));
  };
  const auto read = [&] {
    StreamData into;
    REQUIRE(reads(wire, into));
  };
  measure("memcpy of as much", [&, copy = std::vector<std::byte>(data.bytes.size())]() mutable {
    std::memcpy(copy.data(), data.bytes.data(), copy.size());
    asm volatile("" : : "r"(copy.data()) : "memory");
  });
  measure("write", write);
  measure("read", read);
  measure("write and read", [&] {
    write();
    read();
  });
}
