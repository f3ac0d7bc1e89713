#pragma once

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

/// One client's connection: frames what comes in, answers one request at a time, in order, closes in a way that the
/// client still reads the answer. Methods marked (worker) are called by the connection's worker only.
class Connection : public std::enable_shared_from_this<Connection> {
public:
  Connection(std::shared_ptr<Hub> hub, std::uint64_t id, bool peer_is_loopback, std::weak_ptr<Pistache::Tcp::Peer> peer,
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
  std::uint64_t id() const { return id_; }

  // For the exchange at work.
  void deliver(std::string bytes);
  void finish(std::string bytes, bool close);
  std::size_t outstanding() const { return output_.outstanding(); }
  void nudge() { output_.nudge(); }
  bool closes_after_answer() const;

private:
  enum class Phase : std::uint8_t { reading, answering, lingering, gone };

  using Lock = std::unique_lock<std::mutex>;
  void advance(Lock& lock);
  void on_head();
  void refuse_at_head(Error error, Headers headers = {});
  void answer(Lock& lock);
  void refuse(Lock& lock, const Error& error);
  std::shared_ptr<Exchange> open_exchange(bool keep_alive);
  void complete_answer(Lock& lock);
  void linger();

  const std::shared_ptr<Hub> hub_;
  const std::uint64_t id_;
  const bool peer_is_loopback_;
  OutputQueue output_;

  std::mutex mutex_;
  Phase phase_ = Phase::reading;
  RequestFramer framer_;
  Deadlines deadlines_;
  Request request_;
  std::optional<RouteHandler> handler_;
  std::optional<Error> refusal_;
  Headers refusal_headers_;
  std::shared_ptr<Exchange> current_;
  std::uint64_t body_reserved_ = 0;
  bool answer_done_ = false;
  bool close_after_ = false;
  bool half_closed_ = false;
  bool paused_ = false;
  Instant probed_at_{};
};

}  // namespace nanobox::http::transport
