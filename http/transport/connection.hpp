#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "http/request.hpp"
#include "http/router.hpp"
#include "http/transport/deadlines.hpp"
#include "http/transport/output_queue.hpp"
#include "http/transport/request_framer.hpp"

namespace nanobox::http::transport {

class Exchange;
class Hub;
class InputPipe;

/// Who is at the other end of a socket.
struct PeerAddress {
  std::string text;  ///< "192.0.2.7", "2001:db8::7"; empty where it is not known
  bool is_loopback = false;
};

/// One client's connection: frames what comes in, answers one request at a time, in order, closes in a way that the
/// client still reads the answer. Methods marked (worker) are called by the connection's worker only.
class Connection : public std::enable_shared_from_this<Connection> {
public:
  Connection(std::shared_ptr<Hub> hub, std::uint64_t id, PeerAddress address, std::weak_ptr<Pistache::Tcp::Peer> peer,
             Pistache::Tcp::Transport* transport);
  ~Connection();

  void on_input(std::string_view bytes);  // (worker)
  bool wants_input();                     // (worker)
  bool on_end_of_input();                 // (worker)
  void on_written();                      // (worker)
  void on_progress();                     // (worker)
  void on_gone();                         // (worker)
  void on_nudge();                        // (worker)

  void tick(Instant now);
  void cut();
  void on_drain();
  std::uint64_t id() const { return id_; }

  // For the exchange at work.
  void deliver(std::string bytes);
  void finish(std::string bytes, bool close);
  std::size_t outstanding() const { return output_.outstanding(); }
  void nudge() { output_.nudge(); }
  bool draining() const;
  bool closes_after_answer();
  void send_continue();

  // For an exchange that has taken the connection over.
  std::shared_ptr<InputPipe> take_over(std::string head);
  void end_output();
  void release();

private:
  /// raw: taken over, no HTTP any more.
  enum class Phase : std::uint8_t { reading, answering, raw, lingering, gone };

  using Lock = std::unique_lock<std::mutex>;
  void advance(Lock& lock);
  void on_head();
  void refuse_at_head(Error error, Headers headers = {});
  void answer(Lock& lock);
  void begin_body(Lock& lock);
  void feed_body(Lock& lock);
  void break_body_off(Error error);
  void deliver_input(Lock& lock);
  bool rest_is_little() const;
  bool reads_on();
  void settle(Lock& lock);
  void settle_answer(Lock& lock);
  void settle_raw(Lock& lock);
  void refuse(Lock& lock, const Error& error);
  std::shared_ptr<Exchange> open_exchange(bool keep_alive);
  void complete_answer(Lock& lock);
  void linger();

  const std::shared_ptr<Hub> hub_;
  const std::uint64_t id_;
  const PeerAddress address_;
  OutputQueue output_;

  std::mutex mutex_;
  Phase phase_ = Phase::reading;
  RequestFramer framer_;
  Deadlines deadlines_;
  Request request_;
  std::optional<RouteHandler> handler_;
  std::optional<StreamingHandler> streaming_handler_;
  std::optional<Error> refusal_;
  Headers refusal_headers_;
  std::shared_ptr<Exchange> current_;
  std::uint64_t body_reserved_ = 0;
  std::shared_ptr<InputPipe> input_;         ///< of a streamed body, or of a connection taken over
  std::shared_ptr<InputPipe> former_input_;  ///< of the request whose connection was taken over
  Instant last_input_{};
  bool body_open_ = false;       ///< a streamed body has not come to its end
  bool body_may_pause_ = false;  ///< no limit on its pauses
  bool drops_body_ = false;      ///< the answer is there: what is left of the body is read and dropped
  bool identified_ = false;      ///< the request's key, or that it needs none, is known
  bool continued_ = false;       ///< nothing keeps the client from sending its body
  bool output_ended_ = false;
  bool output_shut_ = false;
  bool released_ = false;
  std::atomic<bool> cut_{false};
  bool answer_done_ = false;
  bool close_after_ = false;
  bool half_closed_ = false;
  bool paused_ = false;
  Instant probed_at_{};
};

}  // namespace nanobox::http::transport
