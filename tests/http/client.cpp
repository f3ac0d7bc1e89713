#include "client.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>

namespace nanobox::test {

using Clock = std::chrono::steady_clock;

Client::Client(std::uint16_t port, int receive_buffer) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_buffer > 0) ::setsockopt(fd(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  const timeval limit{.tv_sec = 5, .tv_usec = 0};
  ::setsockopt(fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) socket_.reset();
}

bool Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto count = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

bool Client::get(std::string_view target, std::string_view more_headers) {
  return send("GET " + std::string(target) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(more_headers) + "\r\n");
}

bool Client::post(std::string_view target, std::string_view body, std::string_view more_headers) {
  return send("POST " + std::string(target) + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n" + std::string(more_headers) + "\r\n" + std::string(body));
}

void Client::half_close() {
  ::shutdown(fd(), SHUT_WR);
}

bool Client::receive(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  pollfd state{.fd = fd(), .events = POLLIN, .revents = 0};
  if (left <= 0 || ended_ || ::poll(&state, 1, static_cast<int>(left)) <= 0) return false;
  char bytes[65536];
  const auto count = ::recv(fd(), bytes, sizeof bytes, 0);
  if (count <= 0) {
    ended_ = true;
    return false;
  }
  buffer_.append(bytes, static_cast<std::size_t>(count));
  return true;
}

std::optional<Answer> Client::read(std::chrono::milliseconds patience, bool to_head) {
  const auto deadline = Clock::now() + patience;
  std::size_t end = 0;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
    if (!receive(deadline)) return std::nullopt;
  Answer answer;
  answer.status = std::atoi(buffer_.c_str() + buffer_.find(' '));
  for (std::size_t at = buffer_.find("\r\n") + 2; at < end;) {
    const auto line_end = buffer_.find("\r\n", at);
    const auto colon = buffer_.find(':', at);
    std::string name = buffer_.substr(at, colon - at);
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const auto value = buffer_.find_first_not_of(' ', colon + 1);
    answer.headers[name] = buffer_.substr(value, line_end - value);
    at = line_end + 2;
  }
  buffer_.erase(0, end + 4);
  if (to_head || answer.status < 200 || answer.status == 204 || answer.status == 304) {
    answer.whole = true;
    return answer;
  }
  if (answer.headers.contains("content-length")) {
    const auto size = static_cast<std::size_t>(std::atoll(answer.headers["content-length"].c_str()));
    while (buffer_.size() < size)
      if (!receive(deadline)) break;
    answer.whole = buffer_.size() >= size;
    answer.body = buffer_.substr(0, size);
    buffer_.erase(0, answer.body.size());
    return answer;
  }
  if (answer.headers["transfer-encoding"] == "chunked") {
    for (;;) {
      std::size_t line = 0;
      while ((line = buffer_.find("\r\n")) == std::string::npos)
        if (!receive(deadline)) return answer;
      const auto size = std::strtoull(buffer_.c_str(), nullptr, 16);
      while (buffer_.size() < line + 2 + size + 2)
        if (!receive(deadline)) return answer;
      answer.body += buffer_.substr(line + 2, size);
      buffer_.erase(0, line + 2 + size + 2);
      if (size == 0) {
        answer.whole = true;
        return answer;
      }
    }
  }
  while (receive(deadline)) {
  }
  answer.whole = ended_;
  answer.body = std::move(buffer_);
  buffer_.clear();
  return answer;
}

std::string Client::read_bytes(std::size_t size, std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  while (buffer_.size() < size)
    if (!receive(deadline)) break;
  return std::exchange(buffer_, {});
}

bool Client::closes(std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  while (receive(deadline)) buffer_.clear();
  return ended_;
}

std::optional<Answer> fetch(std::uint16_t port, std::string_view request, bool to_head) {
  Client client(port);
  if (!client.send(request)) return std::nullopt;
  return client.read(std::chrono::seconds(5), to_head);
}

}  // namespace nanobox::test
