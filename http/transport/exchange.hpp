#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "http/responder.hpp"
#include "http/served_request.hpp"

namespace nanobox::http::transport {

class Connection;
class InputPipe;

/// One request's answer, between whoever gives it (any thread) and the connection that carries it.
class Exchange {
public:
  struct Form {
    std::string request_id;
    std::string instance;
    bool without_body = false;  ///< HEAD
    bool http_1_0 = false;
    bool keep_alive = true;
  };
  /// Who is told what became of the request, and what is known of it so far.
  struct Account {
    ServedRequestSink sink = {};
    ServedRequest request = {};
    std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
  };
  Exchange(std::shared_ptr<Connection> connection, Form form, Account account);
  /// Tells of the request if nobody has: its client went.
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  void note(std::string key, std::string value);

  /// The whole answer. Only the first answer counts.
  void send(int status, std::string_view content_type, std::string body, const Headers& headers);
  bool begin_stream(const StreamHead& head);
  bool stream_write(std::string_view bytes);
  void stream_end();
  /// The stream will not be whole: the connection is cut.
  void stream_abort();

  /// Sends "100 Continue" to a client that waits for it, unless an answer has begun.
  void request_body();
  /// Has the connection's worker look after what is waiting.
  void nudge();

  /// Takes the connection over. @returns nothing where that cannot be
  std::shared_ptr<InputPipe> upgrade(std::string_view protocol, const Headers& headers);
  void raw_end();
  /// After `raw_end` an orderly end, else a cut.
  void raw_release();
  void raw_abort();
  void on_drain(std::function<void()> callback);
  void on_tick(std::function<void(std::chrono::steady_clock::time_point)> callback);

  void on_disconnect(std::function<void()> callback);
  void on_writable(std::function<void()> callback);
  void observe(Responder::Observer observer);

  bool connected() const;
  bool answered() const;
  std::size_t outstanding() const;
  const std::string& request_id() const { return form_.request_id; }
  const std::string& instance() const { return form_.instance; }

  /// The client is gone (from the connection).
  void gone();
  /// Something has left (from the connection's worker).
  void credit_returned(std::size_t outstanding);
  /// Sends bytes that a client that went away answers with a reset, and that others skip, where there are such bytes.
  void probe();
  /// The server begins to stop.
  void drain();
  void tick(std::chrono::steady_clock::time_point now);

private:
  /// Tells what became of the request, the first time.
  void tell();
  /// @returns whether the output had been ended; nothing where the connection is not taken over
  std::optional<bool> leave_raw();

  enum class State : std::uint8_t { open, streaming, raw, done };

  const std::shared_ptr<Connection> connection_;
  const Form form_;
  mutable std::mutex mutex_;
  State state_ = State::open;
  bool gone_ = false;
  bool chunked_ = false;
  bool unframed_ = false;  ///< only the connection's end ends the answer
  bool events_ = false;
  bool wants_credit_ = false;
  bool raw_ended_ = false;
  bool drained_ = false;
  std::optional<std::uint64_t> announced_left_;  ///< of a Content-Length
  std::function<void()> on_disconnect_;
  std::function<void()> on_writable_;
  std::function<void()> on_drain_;
  std::function<void(std::chrono::steady_clock::time_point)> on_tick_;
  Responder::Observer observer_;
  Account account_;
};

}  // namespace nanobox::http::transport
