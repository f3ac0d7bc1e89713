#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/tools/client/client_fixture.hpp"
#include "tools/nanobox/websocket.hpp"

using namespace nanobox;
using namespace nanobox::cli;

namespace {

/// The echo behind TLS, whose certificate is trusted.
class TlsEcho {
public:
  TlsEcho() {
    std::string name = std::filesystem::temp_directory_path() / "nanobox-tls-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    const auto pem = folder_ / "server.pem";
    ::setenv("SSL_CERT_FILE", (folder_ / "server.pem.crt").c_str(), 1);
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const UniqueFd reader{ends[0]}, writer{ends[1]};
    server_.emplace(ChildProcess::spawn({.program = NANOBOX_STAND_IN "/tls_echo",
                                         .arguments = {pem.string()},
                                         .env = {},
                                         .descriptors = {{writer.get(), 1}}})
                        .value());
    while (port_.find('\n') == std::string::npos) {
      char byte = 0;
      REQUIRE(::read(reader.get(), &byte, 1) == 1);
      port_ += byte;
    }
    port_.pop_back();
  }
  ~TlsEcho() {
    ::unsetenv("SSL_CERT_FILE");
    server_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  const std::string& port() const { return port_; }

private:
  std::filesystem::path folder_;
  std::optional<ChildProcess> server_;
  std::string port_;
};

}  // namespace

TEST_CASE_METHOD(TlsEcho, "messages go through TLS both ways, and the goodbye is heard", "[client][websocket]") {
  EventLoop loop;
  const auto socket = WebSocket::make(loop, {.url = "https://localhost:" + port(), .key = "k"}, "/");
  const std::string large(100'000, 'x');
  std::string got;
  std::optional<SocketClose> closed;
  std::function<void()> read_on = [&] {
    socket->read([&](WebSocket::Received received) {
      if (const auto* close = std::get_if<SocketClose>(&received)) {
        closed = *close;
        return loop.stop();
      }
      got += std::get<SocketMessage>(received).bytes;
      if (got.size() == large.size() + 2) socket->close();
      read_on();
    });
  };
  socket->open([&](const Result<void>& opened) {
    INFO((opened ? std::string() : opened.error().reason));
    REQUIRE(opened);
    socket->send({.text = true, .bytes = "hi"}, {});
    socket->send({.text = false, .bytes = large}, {});
    read_on();
  });
  loop.run();
  CHECK(got == "hi" + large);
  REQUIRE(closed);
  CHECK(closed->code == SocketClose::kNormal);
}

TEST_CASE_METHOD(TlsEcho, "a server whose certificate is another's is not talked to", "[client][websocket]") {
  EventLoop loop;
  const auto socket = WebSocket::make(loop, {.url = "https://127.0.0.1:" + port(), .key = "secret"}, "/");
  std::optional<Result<void>> outcome;
  socket->open([&](const Result<void>& opened) { outcome = opened; });
  loop.run();
  REQUIRE((outcome && !*outcome));
  CHECK(outcome->error().reason.find("certificate verify failed") != std::string::npos);
}
