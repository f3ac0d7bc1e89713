#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "config/unique_fd.hpp"

namespace nanobox::test {

/// An answer as it came over the wire; header names in lower case.
struct Answer {
  int status = 0;
  std::map<std::string, std::string> headers;
  std::string body;
  bool whole = false;  ///< by its Content-Length, its last chunk, or the end of the connection
};

/// A small HTTP client that lets a test decide about each byte. Every wait has a deadline.
class Client {
public:
  explicit Client(std::uint16_t port, int receive_buffer = 0);

  bool send(std::string_view bytes);
  /// GET with Host, on a connection that stays.
  bool get(std::string_view target, std::string_view more_headers = {});
  bool post(std::string_view target, std::string_view body, std::string_view more_headers = {});
  void half_close();
  /// Waits for the next answer; 1xx are returned like others. Nothing: none came in time.
  std::optional<Answer> read(std::chrono::milliseconds patience = std::chrono::seconds(5), bool to_head = false);
  /// Bytes received at least until `size` are there, or `patience` is over.
  std::string read_bytes(std::size_t size, std::chrono::milliseconds patience);
  /// Whether the server closes within `patience`; drops what it still sends.
  bool closes(std::chrono::milliseconds patience = std::chrono::seconds(5));
  void close() { socket_.reset(); }
  int fd() const { return socket_.get(); }

private:
  bool receive(std::chrono::steady_clock::time_point deadline);
  UniqueFd socket_;
  std::string buffer_;
  bool ended_ = false;
};

/// One request on a connection of its own.
std::optional<Answer> fetch(std::uint16_t port, std::string_view request, bool to_head = false);

}  // namespace nanobox::test
