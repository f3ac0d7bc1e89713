#pragma once

#include <caf/send.hpp>
#include <string>

#include "actors/messages.hpp"
#include "pipeline/boot/channel/session.hpp"

namespace nanobox {

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
