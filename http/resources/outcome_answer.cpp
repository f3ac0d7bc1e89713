#include "http/resources/outcome_answer.hpp"

#include <caf/event_based_actor.hpp>

#include "actors/job.hpp"
#include "config/utf8.hpp"
#include "http/json/text.hpp"
#include "http/json/writer.hpp"
#include "http/resources/guest_client.hpp"
#include "http/resources/output_events.hpp"

namespace nanobox::http {

namespace {

/// A multiple of three, so that pieces of base64 fit together.
constexpr std::size_t kPiece = std::size_t{3} << 16;
constexpr std::chrono::seconds kReadDeadline{60};

/// The text of a string in JSON, without its quotes.
std::string escaped(std::string_view text) {
  json::Writer json;
  json.value(text);
  const auto quoted = json.take();
  return quoted.substr(1, quoted.size() - 2);
}

std::string_view encoding_of(const OutputSpool& spool) {
  return spool.is_text() ? "utf-8" : "base64";
}

/// The answer's text, piece by piece. Blocking: it reads what was spooled.
class OutcomeText {
public:
  explicit OutcomeText(ExecOutcome outcome) : outcome_(std::move(outcome)) {}

  /// The next piece; empty at the end. @errors io_failed
  Result<std::string> next() {
    switch (place_) {
      case Place::head: {
        place_ = Place::stdout_bytes;
        json::Writer json;
        json.begin_object();
        write_end(json, outcome_.end);
        return json.take() + ",\"stdout\":\"";
      }
      case Place::stdout_bytes:
        return piece_of(*outcome_.stdout_spool, Place::stderr_bytes, "\",\"stderr\":\"");
      case Place::stderr_bytes:
        return piece_of(*outcome_.stderr_spool, Place::end, tail());
      case Place::end:
        return std::string();
    }
    return std::string();
  }

private:
  enum class Place : std::uint8_t { head, stdout_bytes, stderr_bytes, end };

  Result<std::string> piece_of(const OutputSpool& spool, Place then, std::string between) {
    auto bytes = NANOBOX_TRY(spool.read(offset_, kPiece));
    if (bytes.empty()) {
      place_ = then;
      offset_ = 0;
      return between;
    }
    if (spool.is_text()) bytes.resize(utf8_before_cut(bytes));
    offset_ += bytes.size();
    return spool.is_text() ? escaped(bytes) : json::to_base64(bytes);
  }

  std::string tail() const {
    json::Writer json;
    json.begin_object()
        .field("stdout_encoding", encoding_of(*outcome_.stdout_spool))
        .field("stderr_encoding", encoding_of(*outcome_.stderr_spool))
        .field("truncated", outcome_.stdout_spool->truncated() || outcome_.stderr_spool->truncated())
        .field("duration_ms", outcome_.duration_ms)
        .end_object();
    return "\"," + json.take().substr(1);
  }

  const ExecOutcome outcome_;
  Place place_ = Place::head;
  std::uint64_t offset_ = 0;
};

Result<std::string> whole_text(OutcomeText text) {
  std::string all;
  for (;;) {
    const auto piece = NANOBOX_TRY(text.next());
    if (piece.empty()) return all;
    all += piece;
  }
}

struct WriterState {
  static inline const char* name = "outcome_writer";
  std::shared_ptr<OutcomeText> text;
  std::optional<Stream> stream;
};
using WriterSelf = caf::stateful_actor<WriterState>*;

void write_on(WriterSelf self) {
  request_job(self, kReadDeadline, [text = self->state.text] { return text->next(); })
      .then(
          [self](const std::string& piece) {
            auto& stream = *self->state.stream;
            if (piece.empty()) {
              stream.end();
              return self->quit();
            }
            if (stream.write(piece)) return write_on(self);
            stream.on_writable([post = GuestClient::Post(self->address()), self] { post([self] { write_on(self); }); });
          },
          [self](caf::error&) { self->quit(); });  // the stream is dropped: the client sees that it is not whole
}

caf::behavior outcome_writer(WriterSelf self, std::shared_ptr<OutcomeText> text, std::shared_ptr<Responder> responder) {
  self->state.text = std::move(text);
  self->state.stream = responder->begin_stream("application/json");
  self->state.stream->on_disconnect(
      [post = GuestClient::Post(self->address()), self] { post([self] { self->quit(); }); });
  write_on(self);
  return {[](post_atom, const std::function<void()>& work) { work(); }};
}

}  // namespace

void send_outcome(Api& api, Responder responder, ExecOutcome outcome, bool in_one_piece) {
  const bool small = outcome.stdout_spool->size() <= OutputSpool::memory_max &&
                     outcome.stderr_spool->size() <= OutputSpool::memory_max;
  auto shared = std::make_shared<Responder>(std::move(responder));
  if (small) {
    const auto text = whole_text(OutcomeText(std::move(outcome)));
    return text ? shared->send(200, *text) : shared->send_problem(text.error());
  }
  const auto text = std::make_shared<OutcomeText>(std::move(outcome));
  if (!in_one_piece) {
    api.system.spawn(outcome_writer, text, shared);
    return;
  }
  api.system.spawn([text, shared](caf::event_based_actor* self) {
    request_job(self, kReadDeadline, [text] { return whole_text(std::move(*text)); })
        .then([shared](const std::string& whole) { shared->send(200, whole); },
              [shared](caf::error& error) { shared->send_problem(from_caf(error, "answer with a command's output")); });
  });
}

}  // namespace nanobox::http
