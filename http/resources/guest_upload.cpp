#include "http/resources/guest_upload.hpp"

namespace nanobox::http {

GuestUpload::GuestUpload(Responder responder, BodyReader body)
    : responder_(std::move(responder)), body_(std::move(body)) {}

void GuestUpload::on_stream() {
  body_.start(
      [this, post = post()](std::string bytes) {
        post([this, bytes = std::move(bytes)] {
          written_ += bytes.size();
          guest().write(bytes, false);
        });
      },
      [this, post = post()](Result<void> whole) {
        post([this, whole = std::move(whole)] {
          if (whole) return guest().write("", true);
          on_failed(whole.error());
        });
      });
}

void GuestUpload::on_window(const StdinWindow& window) {
  const auto gone = written_ - window.queued;
  if (gone <= consumed_) return;
  body_.consumed(gone - consumed_);
  consumed_ = gone;
}

void GuestUpload::on_exit(const StreamExit&) {
  responder_.send(204);
  quit();
}

void GuestUpload::on_failed(const Error& error) {
  responder_.send_problem(error);
  quit();
}

}  // namespace nanobox::http
