#pragma once

#include <cstddef>

namespace Pistache::Tcp {
class Peer;
}

namespace nanobox::http::transport {

/// What our replacement of Pistache's write and read path tells a handler beyond `Pistache::Tcp::Handler`. A handler
/// that is no `TransportEvents` is served as by the stock library, without its faults. All calls come from the worker.
class TransportEvents {
public:
  virtual ~TransportEvents() = default;
  /// Whether to read on; false pauses until `resume_reading`.
  virtual bool wants_input(Pistache::Tcp::Peer& peer) = 0;
  /// The client sends no more. @returns whether the connection stays, because an answer is still owed
  virtual bool on_end_of_input(Pistache::Tcp::Peer& peer) = 0;
  /// One `Peer::send` is wholly with the kernel.
  virtual void on_written(Pistache::Tcp::Peer& peer) = 0;
  /// Part of one has left: the client reads.
  virtual void on_write_progress(Pistache::Tcp::Peer& peer) = 0;
  /// One `Peer::send` failed: the client is gone.
  virtual void on_write_failed(Pistache::Tcp::Peer& peer) = 0;
  /// The worker was asked to look after this peer (by asking for a writable event).
  virtual void on_nudge(Pistache::Tcp::Peer& peer) = 0;
};

/// Whether the functions of `Pistache::Tcp::Transport` that this program runs are ours. They replace the shared
/// library's at link time; linked statically against Pistache they would not.
bool transport_is_mended();

}  // namespace nanobox::http::transport
