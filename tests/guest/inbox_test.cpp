#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <string>

#include "config/unique_fd.hpp"

extern "C" {
#include "guest/init/inbox.h"
#include "guest/protocol.h"
}

using nanobox::UniqueFd;

namespace {

struct Inbox : inbox {
  UniqueFd reader, writer;
  Inbox() : inbox{} {
    ::signal(SIGPIPE, SIG_IGN);
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    reader = UniqueFd(ends[0]);
    writer = UniqueFd(ends[1]);
  }
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  ~Inbox() { inbox_free(this); }
  bool put(const std::string& text, bool end = false) {
    return inbox_put(this, writer.get(), reinterpret_cast<const std::uint8_t*>(text.data()),
                     static_cast<std::uint32_t>(text.size()), end);
  }
  std::string read() const {
    std::string text(1 << 20, '\0');
    const auto count = ::read(reader.get(), text.data(), text.size());
    text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    return text;
  }
};

}  // namespace

TEST_CASE("what a pipe does not take waits, in order", "[guest]") {
  Inbox inbox;
  std::string sent;
  std::string got;
  for (int i = 0; sent.size() + 40'000 <= NANOBOX_INITIAL_CREDIT; ++i) {
    const std::string piece(40'000, static_cast<char>('a' + i));
    REQUIRE(inbox.put(piece, false));
    sent += piece;
  }
  CHECK(inbox.used > 0);
  while (got.size() < sent.size()) {
    const auto piece = inbox.read();
    REQUIRE_FALSE(piece.empty());
    got += piece;
    REQUIRE(inbox_write(&inbox, inbox.writer.get()));
  }
  CHECK(got == sent);
  CHECK(inbox_grant(&inbox) == sent.size());
  CHECK(inbox_grant(&inbox) == 0);
}

TEST_CASE("more than was granted is refused", "[guest]") {
  Inbox inbox;
  for (int i = 0; i < 4; ++i) REQUIRE(inbox.put(std::string(65536, 'x')));
  CHECK_FALSE(inbox.put("x"));
  const auto granted = inbox_grant(&inbox);
  CHECK(granted == 65536);
  CHECK(inbox.put(std::string(granted, 'x')));
  CHECK_FALSE(inbox.put("x"));
}

TEST_CASE("a reader that is gone is noticed, and what waits is dropped", "[guest]") {
  Inbox inbox;
  REQUIRE(inbox.put(std::string(100'000, 'x')));
  inbox.reader = UniqueFd();
  CHECK_FALSE(inbox_write(&inbox, inbox.writer.get()));
  CHECK(inbox.used == 0);
  CHECK(inbox_grant(&inbox) == 100'000);
}
