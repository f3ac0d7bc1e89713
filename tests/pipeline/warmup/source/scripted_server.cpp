#include "scripted_server.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "config/sha256.hpp"

namespace nanobox {

namespace {

UniqueFd listen_on_loopback(std::uint16_t& port) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(socket.get(), 64) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("cannot listen on loopback");
  port = ntohs(address.sin_port);
  return socket;
}

bool send_all(int connection, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::optional<ScriptedServer::Request> parse(const std::string& head) {
  std::istringstream lines(head);
  ScriptedServer::Request request;
  std::string line;
  std::getline(lines, line);
  std::istringstream first(line);
  first >> request.method >> request.path;
  while (std::getline(lines, line) && line != "\r") {
    const auto colon = line.find(':');
    if (colon == std::string::npos) return std::nullopt;
    auto value = line.substr(colon + 1);
    value.erase(0, value.find_first_not_of(' '));
    value.erase(value.find_last_not_of("\r\n ") + 1);
    request.headers[lower(line.substr(0, colon))] = value;
  }
  return request;
}

}  // namespace

std::string ScriptedServer::Request::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

ScriptedServer::ScriptedServer(Handler handler) : handler_(std::move(handler)), listener_(listen_on_loopback(port_)) {
  acceptor_ = std::thread([this] { accept_all(); });
}

ScriptedServer::~ScriptedServer() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = released_ = true;
    for (const int connection : open_) ::shutdown(connection, SHUT_RDWR);
  }
  changed_.notify_all();
  ::shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  for (auto& thread : threads_) thread.join();
}

std::vector<ScriptedServer::Request> ScriptedServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::size_t ScriptedServer::count(const std::string& method, const std::string& path_part) const {
  const auto all = requests();
  return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](const Request& request) {
    return request.method == method && request.path.find(path_part) != std::string::npos;
  }));
}

void ScriptedServer::wait_for_stalled(std::size_t count) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, std::chrono::seconds(30), [&] { return stalled_ >= count; }))
    throw std::runtime_error("no request was stalled");
}

void ScriptedServer::release() {
  {
    const std::lock_guard lock(mutex_);
    released_ = true;
  }
  changed_.notify_all();
}

void ScriptedServer::accept_all() {
  while (true) {
    const int connection = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    const std::lock_guard lock(mutex_);
    if (connection < 0 || ending_) {
      if (connection >= 0) ::close(connection);
      return;
    }
    open_.push_back(connection);
    threads_.emplace_back([this, connection] {
      serve(connection);
      const std::lock_guard guard(mutex_);
      open_.erase(std::find(open_.begin(), open_.end(), connection));
      ::close(connection);
    });
  }
}

void ScriptedServer::serve(int connection) {
  std::string input;
  while (true) {
    std::size_t end = std::string::npos;
    while ((end = input.find("\r\n\r\n")) == std::string::npos) {
      char buffer[4096];
      const auto got = ::recv(connection, buffer, sizeof buffer, 0);
      if (got <= 0 || input.size() > 65536) return;
      input.append(buffer, static_cast<std::size_t>(got));
      if (input.front() == '\x16') return;  // TLS, which it does not speak
    }
    const auto request = parse(input.substr(0, end + 2) + "\r\n");
    input.erase(0, end + 4);
    if (!request) return;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(*request);
    }
    const auto reply = handler_(*request);
    std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " X\r\n";
    bool length_given = false;
    for (const auto& [name, value] : reply.headers) {
      head += name + ": " + value + "\r\n";
      if (lower(name) == "content-length" || lower(name) == "transfer-encoding") length_given = true;
    }
    if (!length_given) head += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
    if (!send_all(connection, head + "\r\n")) return;
    if (request->method == "HEAD") continue;
    if (!send_all(connection, std::string_view(reply.body).substr(0, reply.cut_after.value_or(reply.body.size()))))
      return;
    if (reply.stall) {
      std::unique_lock lock(mutex_);
      ++stalled_;
      changed_.notify_all();
      changed_.wait(lock, [&] { return released_; });
    }
    if (reply.cut_after) return;
  }
}

ScriptedServer::Reply serve_image(const TestImage& image, const ScriptedServer::Request& request) {
  if (request.path.find("/manifests/") != std::string::npos)
    return {.headers = {{"Content-Type", "application/vnd.oci.image.manifest.v1+json"},
                        {"Docker-Content-Digest", image.digest}},
            .body = image.manifest};
  const auto blobs = request.path.find("/blobs/");
  const auto* blob = blobs == std::string::npos ? nullptr : image.blob(request.path.substr(blobs + 7));
  if (!blob) return {.status = 404, .headers = {}, .body = R"({"errors":[{"code":"BLOB_UNKNOWN"}]})"};
  const auto range = request.header("range");
  if (!range.starts_with("bytes=")) return {.headers = {}, .body = *blob};
  const auto from = std::stoull(range.substr(6));
  return {.status = 206,
          .headers = {{"Content-Range", "bytes " + std::to_string(from) + "-" + std::to_string(blob->size() - 1) + "/" +
                                            std::to_string(blob->size())}},
          .body = blob->substr(from)};
}

std::uint16_t free_port() {
  std::uint16_t port = 0;
  listen_on_loopback(port);
  return port;
}

}  // namespace nanobox
