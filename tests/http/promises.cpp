#include "promises.hpp"

#include <chrono>
#include <thread>

#include "client.hpp"

namespace nanobox::test {
namespace {

using namespace std::chrono_literals;

bool is_alive(std::uint16_t port) {
  Client client(port);
  client.get("/hello");
  const auto answer = client.read(2s);
  return answer && answer->status == 200;
}

// Refused with 400, and the connection is not used on: nothing behind the request is taken for another one.
bool refuses(std::uint16_t port, std::string_view request) {
  Client client(port);
  client.send(request);
  const auto answer = client.read(2s);
  return answer && answer->status == 400 && client.closes(3s) && is_alive(port);
}

bool slow_reader(std::uint16_t port) {
  Client slow(port, 4096);
  slow.get("/big");
  slow.read_bytes(1000, 2s);
  return is_alive(port);
}

bool stream_of_another_thread(std::uint16_t port) {
  Client client(port);
  client.get("/stream");
  const auto answer = client.read(3s);
  return answer && answer->whole && answer->body == "onetwothree" && is_alive(port);
}

bool pipelining(std::uint16_t port) {
  Client client(port);
  const std::string one = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
  client.send(one + one + one);
  for (int i = 0; i < 3; ++i)
    if (const auto answer = client.read(2s); !answer || answer->status != 200) return false;
  return true;
}

bool split_chunks(std::uint16_t port) {
  Client client(port);
  const std::string request =
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n "
      "world\r\n0\r\n\r\n";
  for (const char& c : request) {
    client.send({&c, 1});
    std::this_thread::sleep_for(1ms);
  }
  const auto answer = client.read(2s);
  return answer && answer->status == 200 && answer->body == "hello world";
}

bool two_lengths(std::uint16_t port) {
  return refuses(port, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 3\r\n\r\nhello");
}

bool equal_lengths(std::uint16_t port) {
  return refuses(port, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello");
}

bool wordy_length(std::uint16_t port) {
  return refuses(port, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\nhello") &&
         refuses(port, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: \r\n\r\nhello");
}

bool length_and_coding(std::uint16_t port) {
  return refuses(port,
                 "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

bool bad_chunk_size(std::uint16_t port) {
  const std::string head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const char* size : {"zz", "-1", "0x5", "ffffffffffffffffff", ""})
    if (!refuses(port, head + size + "\r\nhello\r\n0\r\n\r\n")) return false;
  return true;
}

bool large_header(std::uint16_t port) {
  Client client(port);
  client.send("GET /hello HTTP/1.1\r\nHost: localhost\r\nX-Long: " + std::string(70'000, 'x'));
  const auto answer = client.read(3s);
  return answer && answer->status == 431 && is_alive(port);
}

bool large_body(std::uint16_t port) {
  Client client(port);
  client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n");
  const std::string piece(1 << 20, 'x');
  // As clients do that write all before they read; the server may stop reading at any time.
  for (int i = 0; i < 8 && client.send(piece); ++i) {
  }
  const auto answer = client.read(3s);
  return answer && answer->status == 413 && is_alive(port);
}

bool slash_flood(std::uint16_t port) {
  for (const std::size_t count : {60'000U, 100'000U}) {
    Client client(port);
    client.send("GET " + std::string(count, '/') + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    if (!client.read(5s)) return false;
  }
  return is_alive(port);
}

bool expects_continue(std::uint16_t port) {
  Client client(port);
  client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  const auto interim = client.read(1s);
  if (!interim || interim->status != 100) return false;
  client.send("hello");
  const auto answer = client.read(2s);
  return answer && answer->status == 200 && answer->body == "hello";
}

bool half_close(std::uint16_t port) {
  Client client(port);
  client.get("/stream");
  client.half_close();
  const auto answer = client.read(3s);
  return answer && answer->whole && answer->body == "onetwothree" && client.closes(3s);
}

bool says_close(std::uint16_t port) {
  Client client(port);
  client.get("/hello", "Connection: close\r\n");
  return client.read(2s) && client.closes(2s);
}

bool old_version_closes(std::uint16_t port) {
  Client client(port);
  client.send("GET /hello HTTP/1.0\r\nHost: localhost\r\n\r\n");
  return client.read(2s) && client.closes(2s);
}

bool keeps_alive(std::uint16_t port) {
  Client client(port);
  client.get("/hello");
  const auto answer = client.read(2s);
  return answer && !answer->headers.contains("connection");
}

}  // namespace

const std::vector<Promise>& promises() {
  static const std::vector<Promise> all{
      {"others are served beside a slow reader", slow_reader},
      {"a stream may be written by another thread", stream_of_another_thread},
      {"pipelined requests are all answered", pipelining},
      {"chunked bodies may be split anywhere", split_chunks},
      {"two Content-Lengths are refused", two_lengths},
      {"two equal Content-Lengths are refused", equal_lengths},
      {"a Content-Length that is no number is refused", wordy_length},
      {"Content-Length beside Transfer-Encoding is refused", length_and_coding},
      {"bad chunk sizes are refused", bad_chunk_size},
      {"a header block above 64 KiB gets 431", large_header},
      {"a body above the limit gets 413", large_body},
      {"floods of slashes do no harm", slash_flood},
      {"Expect: 100-continue is answered", expects_continue},
      {"a half-closed client gets its answer", half_close},
      {"Connection: close closes", says_close},
      {"HTTP/1.0 closes", old_version_closes},
      {"HTTP/1.1 keeps the connection and does not say otherwise", keeps_alive},
  };
  return all;
}

}  // namespace nanobox::test
