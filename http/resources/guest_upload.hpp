#pragma once

#include <optional>

#include "http/body_reader.hpp"
#include "http/resources/guest_client.hpp"

namespace nanobox::http {

/// A request's body that goes to the guest while it arrives, at the guest's pace; answered with 204 when the guest has
/// taken all of it. A client that leaves in the middle closes the stream: nothing of it counts.
class GuestUpload : public GuestClient {
public:
  GuestUpload(Responder responder, BodyReader body);
  void on_stream() override;
  void on_window(const StdinWindow& window) override;
  void on_exit(const StreamExit& exit) override;
  void on_failed(const Error& error) override;

private:
  Responder responder_;
  BodyReader body_;
  std::uint64_t written_ = 0;
  std::uint64_t consumed_ = 0;
};

}  // namespace nanobox::http
