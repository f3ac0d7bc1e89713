#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "http/responder.hpp"

namespace nanobox::http::transport {

class Connection;

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
  Exchange(std::shared_ptr<Connection> connection, Form form);

  /// The whole answer. Only the first answer counts.
  void send(int status, std::string_view content_type, std::string body, const Headers& headers);
  bool begin_stream(std::string_view content_type, const Headers& headers);
  bool stream_write(std::string_view bytes);
  void stream_end();
  /// The stream will not be whole: the connection is cut.
  void stream_abort();

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

private:
  enum class State : std::uint8_t { open, streaming, done };

  const std::shared_ptr<Connection> connection_;
  const Form form_;
  mutable std::mutex mutex_;
  State state_ = State::open;
  bool gone_ = false;
  bool chunked_ = false;
  bool events_ = false;
  bool wants_credit_ = false;
  std::function<void()> on_disconnect_;
  std::function<void()> on_writable_;
  Responder::Observer observer_;
};

}  // namespace nanobox::http::transport
