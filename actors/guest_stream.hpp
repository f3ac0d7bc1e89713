#pragma once

#include <caf/send.hpp>
#include <string>

#include "actors/messages.hpp"
#include "pipeline/boot/channel/session.hpp"

namespace nanobox {

/// Who opened a stream, and is told all of it: Opened, data against credit, how much of its input still waits; last
/// StreamExit or why there is none. When it dies the stream is closed.
using StreamSink = caf::typed_actor<caf::reacts_to<opened_atom, Opened>, caf::reacts_to<bytes_atom, StreamData>,
                                    caf::reacts_to<gap_atom, OutputGap>, caf::reacts_to<window_atom, StdinWindow>,
                                    caf::reacts_to<exit_atom, StreamExit>, caf::reacts_to<failed_atom, Error>>;

/// The way back: see ChannelSession's functions of the same names.
using StreamSource = caf::typed_actor<caf::reacts_to<grant_atom, std::uint32_t, std::uint32_t>,
                                      caf::reacts_to<write_atom, std::uint32_t, std::string, bool>,
                                      caf::reacts_to<signal_atom, std::uint32_t, std::uint32_t>,
                                      caf::reacts_to<resize_atom, std::uint32_t, TerminalSize>,
                                      caf::reacts_to<close_atom, std::uint32_t>>;

/// An open stream as its sink holds it.
struct GuestStream {
  StreamSource source;
  std::uint32_t number = 0;

  void grant(std::size_t bytes) const {
    if (bytes > 0) caf::anon_send(source, grant_atom_v, number, static_cast<std::uint32_t>(bytes));
  }
  /// At most ChannelSession::stdin_queue_max may wait; a StdinWindow tells when some of it went.
  void write(std::string bytes, bool last) const {
    caf::anon_send(source, write_atom_v, number, std::move(bytes), last);
  }
  void signal(std::uint32_t signal_number) const { caf::anon_send(source, signal_atom_v, number, signal_number); }
  void resize(TerminalSize size) const { caf::anon_send(source, resize_atom_v, number, size); }
  void close() const { caf::anon_send(source, close_atom_v, number); }
};

}  // namespace nanobox

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::function<void()>)
