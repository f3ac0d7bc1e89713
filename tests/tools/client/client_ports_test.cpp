#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <thread>

#include "tests/tools/client/client_fixture.hpp"

using namespace nanobox;

namespace {

UniqueFd tcp_socket() {
  UniqueFd made{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const timeval patience{.tv_sec = 60, .tv_usec = 0};
  ::setsockopt(made.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return made;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::uint16_t port_of(const UniqueFd& socket) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return ntohs(address.sin_port);
}

std::string read_all(const UniqueFd& socket) {
  std::string all;
  std::array<char, 65536> bytes;
  for (;;) {
    const auto got = ::recv(socket.get(), bytes.data(), bytes.size(), 0);
    if (got <= 0) return got == 0 ? all : all + "<error " + std::to_string(errno) + ">";
    all.append(bytes.data(), static_cast<std::size_t>(got));
  }
}

void send_all(const UniqueFd& socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

/// Answers each connection with all it read, once that is all.
class Echo {
public:
  Echo() : listener_(tcp_socket()) {
    const auto address = loopback(0);
    REQUIRE(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener_.get(), 64) == 0);
    thread_ = std::thread([this] {
      std::vector<std::thread> answering;
      for (;;) {
        const int connection = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
        if (connection < 0) break;
        answering.emplace_back([connection] {
          const UniqueFd socket{connection};
          send_all(socket, read_all(socket));
        });
      }
      for (auto& one : answering) one.join();
    });
  }
  ~Echo() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  std::uint16_t port() const { return port_of(listener_); }

private:
  UniqueFd listener_;
  std::thread thread_;
};

/// nanobox port-forward, and the ports it says it listens at.
class Forwarding {
public:
  Forwarding(const Client& client, const std::vector<std::string>& pairs) : child_(start(client, pairs)) {
    std::string text;
    while (std::ranges::count(text, '\n') < static_cast<std::ptrdiff_t>(pairs.size())) {
      char bytes[4096];
      const auto got = ::read(out_.get(), bytes, sizeof bytes);
      REQUIRE(got > 0);
      text.append(bytes, static_cast<std::size_t>(got));
    }
    for (std::size_t at = text.find("127.0.0.1:"); at != std::string::npos; at = text.find("127.0.0.1:", at + 1))
      ports_.push_back(static_cast<std::uint16_t>(std::stoi(text.substr(at + 10))));
    REQUIRE(ports_.size() == pairs.size());
  }
  UniqueFd connect(std::size_t which = 0) const {
    auto socket = tcp_socket();
    const auto address = loopback(ports_[which]);
    REQUIRE(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return socket;
  }
  int stop(int number = SIGINT) {
    child_.signal(number);
    return child_.wait(60s).value().exit_code.value_or(-1);
  }
  int code() { return child_.wait(60s).value().exit_code.value_or(-1); }

private:
  ChildProcess start(const Client& client, const std::vector<std::string>& pairs) {
    std::vector<std::string> args = {"port-forward", "sb-0"};
    args.insert(args.end(), pairs.begin(), pairs.end());
    auto command = client.command(std::move(args));
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    out_.reset(ends[0]);
    const UniqueFd writer{ends[1]};
    command.descriptors = {{writer.get(), 1}};
    return ChildProcess::spawn(command).value();
  }
  UniqueFd out_;
  ChildProcess child_;
  std::vector<std::uint16_t> ports_;
};

std::string ask(const UniqueFd& socket, const std::string& bytes) {
  std::thread sending([&] {
    send_all(socket, bytes);
    ::shutdown(socket.get(), SHUT_WR);
  });
  auto answer = read_all(socket);
  sending.join();
  return answer;
}

}  // namespace

TEST_CASE_METHOD(ClientWithSandbox, "bytes go both ways, and each end's end is passed on", "[client][ports]") {
  Echo echo;
  Forwarding forwarding(*this, {":" + std::to_string(echo.port())});
  CHECK(ask(forwarding.connect(), "hello") == "hello");
  CHECK(ask(forwarding.connect(), "").empty());
  std::string large(200'000, '\0');
  for (std::size_t at = 0; at < large.size(); ++at) large[at] = static_cast<char>(at >> 2);
  CHECK(ask(forwarding.connect(), large) == large);
  CHECK(forwarding.stop() == 0);
}

TEST_CASE_METHOD(ClientWithSandbox, "many connections to several ports at once", "[client][ports]") {
  Echo one, other;
  Forwarding forwarding(*this, {":" + std::to_string(one.port()), "0:" + std::to_string(other.port())});
  std::vector<UniqueFd> sockets;
  for (std::size_t at = 0; at < 40; ++at) sockets.push_back(forwarding.connect(at % 2));
  for (std::size_t at = 0; at < sockets.size(); ++at) send_all(sockets[at], "number " + std::to_string(at));
  for (std::size_t at = sockets.size(); at-- > 0;) CHECK(ask(sockets[at], "!") == "number " + std::to_string(at) + "!");
  CHECK(forwarding.stop(SIGTERM) == 0);
}

TEST_CASE_METHOD(ClientWithSandbox, "a connection nobody listens for inside is reset, and others go on",
                 "[client][ports]") {
  Echo echo;
  std::uint16_t closed = 0;
  {
    Echo gone;
    closed = gone.port();
  }
  Forwarding forwarding(*this, {":" + std::to_string(closed), ":" + std::to_string(echo.port())});
  CHECK(read_all(forwarding.connect(0)) == "<error " + std::to_string(ECONNRESET) + ">");
  CHECK(ask(forwarding.connect(1), "still here") == "still here");
  CHECK(forwarding.stop() == 0);
}

TEST_CASE_METHOD(Client, "a sandbox that ends meanwhile ends the forwarding with the reason", "[client][ports]") {
  REQUIRE(run({"run", "--keep", "x", "true"}).exit.exit_code == 0);
  {
    Forwarding forwarding(*this, {":80"});
    CHECK(run({"rm", "sb-0"}).exit.exit_code == 0);
    CHECK(read_all(forwarding.connect()).starts_with("<error"));
    CHECK(forwarding.code() == 1);
  }
}

TEST_CASE_METHOD(ClientWithSandbox, "what cannot be listened at is said with the mend", "[client][ports]") {
  Echo taken;
  const auto port = std::to_string(taken.port());
  CHECK(run({"port-forward", "sb-0", port + ":80"}).err.find("name another port, or none (:80)") != std::string::npos);
  CHECK(run({"port-forward", "sb-0", "x:80"}).err.find("write HERE:INSIDE") != std::string::npos);
  CHECK(run({"port-forward", "sb-9", ":80"}).err.find("no sandbox has the id 'sb-9'") != std::string::npos);
  CHECK(run({"port-forward", "--address", "no.such.host.invalid", "sb-0", ":80"}).err.find("--address 127.0.0.1") !=
        std::string::npos);
}
