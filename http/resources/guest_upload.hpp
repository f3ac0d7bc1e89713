#pragma once

#include "http/body_reader.hpp"
#include "http/resources/guest_answer.hpp"

namespace nanobox::http {

/// A request's body that goes to the guest while it arrives, at the guest's pace; answered with 204 when the guest has
/// taken all of it. A client that leaves in the middle closes the stream: nothing of it counts.
class GuestUpload final : public OneAnswer {
public:
  GuestUpload(Responder responder, BodyReader body);
  void on_stream() override;
  void on_window(const StdinWindow& window) override;
  void on_exit(const StreamExit& exit) override;

private:
  BodyReader body_;
  InputPace pace_;
};

}  // namespace nanobox::http
