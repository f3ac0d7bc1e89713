#pragma once

#include <chrono>
#include <cstdint>

#include "http/server.hpp"

namespace nanobox::http::transport {

using Instant = std::chrono::steady_clock::time_point;

/// Mend 3: Pistache's own timeouts are never armed (they answer 408 inside a running stream); a connection's deadlines
/// are decided here, on plain values.
class Deadlines {
public:
  Deadlines(const ServerTimeouts& timeouts, Instant now) : timeouts_(timeouts) { between_requests(now); }

  void between_requests(Instant now) { enter(Wait::request, now); }
  /// Bytes arrived that are part of a header block.
  void header_bytes(Instant now) {
    if (wait_ != Wait::header) enter(Wait::header, now);
  }
  void body_bytes(Instant now) {
    if (wait_ != Wait::body) enter(Wait::body, now);
    last_bytes_ = now;
  }
  void answering(Instant now) { enter(Wait::answer, now); }
  void lingering(Instant now) { enter(Wait::end, now); }
  /// A client that still sends has not read the answer yet.
  void lingering_bytes(Instant now) { last_bytes_ = now; }

  enum class Verdict : std::uint8_t { wait, idle, slow_header, slow_body, linger_over };
  Verdict at(Instant now) const {
    const auto waited = now - since_;
    switch (wait_) {
      case Wait::request:
        return waited > timeouts_.idle ? Verdict::idle : Verdict::wait;
      case Wait::header:
        return waited > timeouts_.header ? Verdict::slow_header : Verdict::wait;
      case Wait::body:
        return waited > timeouts_.body_total || now - last_bytes_ > timeouts_.body_pause ? Verdict::slow_body
                                                                                         : Verdict::wait;
      case Wait::answer:
        return Verdict::wait;
      case Wait::end:
        return waited > linger_total || now - last_bytes_ > linger ? Verdict::linger_over : Verdict::wait;
    }
    return Verdict::wait;
  }

  /// How long a client that sends nothing, and one that still sends, gets to read the last answer and close.
  static constexpr std::chrono::milliseconds linger{2'000};
  static constexpr std::chrono::milliseconds linger_total{15'000};

private:
  enum class Wait : std::uint8_t { request, header, body, answer, end };
  void enter(Wait wait, Instant now) {
    wait_ = wait;
    since_ = last_bytes_ = now;
  }

  ServerTimeouts timeouts_;
  Wait wait_ = Wait::request;
  Instant since_{};
  Instant last_bytes_{};
};

}  // namespace nanobox::http::transport
