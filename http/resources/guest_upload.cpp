#include "http/resources/guest_upload.hpp"

namespace nanobox::http {

GuestUpload::GuestUpload(Responder responder, BodyReader body)
    : OneAnswer(std::move(responder)), body_(std::move(body)) {}

void GuestUpload::on_stream() {
  body_.start(
      [this, post = post()](std::string bytes) {
        post([this, bytes = std::move(bytes)] {
          pace_.wrote(bytes.size());
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
  pace_.on_window(window, body_);
}

void GuestUpload::on_exit(const StreamExit&) {
  responder().send(204);
  quit();
}

}  // namespace nanobox::http
