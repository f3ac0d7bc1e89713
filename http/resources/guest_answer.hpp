#pragma once

#include <optional>
#include <string_view>

#include "http/resources/guest_client.hpp"
#include "http/resources/pace.hpp"

namespace nanobox::http {

/// A client that answers once, when its stream is over; a failure is a problem.
class OneAnswer : public GuestClient {
public:
  explicit OneAnswer(Responder responder) : responder_(std::move(responder)) {}
  void on_failed(const Error& error) override {
    responder_.send_problem(error);
    quit();
  }

protected:
  Responder& responder() { return responder_; }

private:
  Responder responder_;
};

/// A client whose answer goes out while the guest's bytes come, at the pace of who asked. Until it has begun a failure
/// is a problem.
class StreamedAnswer : public GuestClient {
public:
  explicit StreamedAnswer(Responder responder) : responder_(std::move(responder)) {}
  void on_failed(const Error& error) override;

protected:
  /// Until it has begun.
  Responder& responder() { return responder_; }
  void begin(StreamHead head);
  bool has_begun() const { return stream_.has_value(); }
  bool has_room() const { return pace_->has_room(); }
  /// @param credit  bytes of the guest's that `bytes` were made of
  void write(std::string_view bytes, std::size_t credit);
  /// The answer is whole.
  void end();

private:
  Responder responder_;
  std::optional<Stream> stream_;
  std::optional<OutputPace> pace_;
};

}  // namespace nanobox::http
