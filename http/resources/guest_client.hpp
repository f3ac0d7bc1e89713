#pragma once

#include <caf/actor_addr.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "actors/guest_stream.hpp"
#include "http/resources/api.hpp"
#include "http/responder.hpp"

namespace nanobox::http {

/// What one request makes of one stream of a guest. It lives on an actor of its own: every function is called on that
/// actor's thread, one at a time, and none may block. When the actor ends, the stream is closed.
class GuestClient {
public:
  virtual ~GuestClient() = default;
  GuestClient() = default;
  GuestClient(const GuestClient&) = delete;
  GuestClient& operator=(const GuestClient&) = delete;

  /// The stream has its number: input may be written.
  virtual void on_stream() {}
  virtual void on_opened(const Opened&) {}
  /// Credit for it has to be given back, see `grant`.
  virtual void on_data(StreamData&) {}
  virtual void on_gap(const OutputGap&) {}
  virtual void on_window(const StdinWindow&) {}
  virtual void on_exit(const StreamExit& exit) = 0;
  /// It could not be opened, was refused, or its VM ended.
  virtual void on_failed(const Error& error) = 0;
  virtual void on_tick() {}

  /// Runs a function on the actor's thread, from any; does nothing once the actor has ended.
  class Post {
  public:
    explicit Post(caf::actor_addr who) : who_(std::move(who)) {}
    void operator()(std::function<void()> work) const;

  private:
    caf::actor_addr who_;
  };

  /// What the actor lends to its client; set before the first call.
  struct Host {
    std::function<void()> quit;
    std::function<void(std::chrono::milliseconds)> tick_after;
    std::function<void(StreamRequest)> reopen;
    std::optional<Post> post;
  };
  void set_host(Host host) { host_ = std::move(host); }
  void set_stream(GuestStream stream) { stream_ = std::move(stream); }

protected:
  const GuestStream& guest() const { return *stream_; }
  void grant(std::size_t bytes) const { stream_->grant(bytes); }
  /// Ends the actor and with it this object, once the present call has returned.
  void quit() const { host_.quit(); }
  void tick_after(std::chrono::milliseconds pause) const { host_.tick_after(pause); }
  /// Goes on with another stream instead of one that has ended.
  void reopen(StreamRequest request) const { host_.reopen(std::move(request)); }
  Post post() const { return *host_.post; }

private:
  Host host_;
  std::optional<GuestStream> stream_;
};

/// Opens the stream and lets `client` have what comes of it.
void start_guest_client(Api& api, std::string sandbox_id, StreamRequest request, std::unique_ptr<GuestClient> client);

}  // namespace nanobox::http
