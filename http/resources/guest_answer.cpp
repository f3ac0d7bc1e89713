#include "http/resources/guest_answer.hpp"

namespace nanobox::http {

void StreamedAnswer::on_failed(const Error& error) {
  // Once the head is out, only a cut connection can say that the rest is missing.
  if (!has_begun()) responder_.send_problem(error);
  quit();
}

void StreamedAnswer::begin(StreamHead head) {
  stream_ = responder_.begin_stream(std::move(head));
  stream_->on_disconnect([this, post = post()] { post([this] { quit(); }); });
  pace_.emplace(post(), [this](std::size_t bytes) { grant(bytes); });
}

void StreamedAnswer::write(std::string_view bytes, std::size_t credit) {
  pace_->wrote(*stream_, stream_->write(bytes), credit);
}

void StreamedAnswer::end() {
  stream_->end();
  quit();
}

}  // namespace nanobox::http
