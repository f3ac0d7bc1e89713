#pragma once

#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/atom.hpp>
#include <caf/error.hpp>
#include <caf/meta/load_callback.hpp>
#include <caf/meta/type_name.hpp>
#include <caf/response_promise.hpp>
#include <caf/stateful_actor.hpp>
#include <caf/type_id.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <caf/typed_response_promise.hpp>
#include <string>
#include <vector>

#include "actors/wire/guest_stream_inspect.hpp"
#include "actors/wire/record_inspect.hpp"
#include "config/error.hpp"
#include "pipeline/boot/exec.hpp"
#include "pipeline/boot/stages.hpp"
#include "pipeline/boot/vmm/driver.hpp"
#include "pipeline/run.hpp"
#include "pipeline/sandbox.hpp"
#include "pipeline/stage_context.hpp"
#include "pipeline/warmup/stages.hpp"

namespace nanobox {

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, FieldError& x) {
  return f(caf::meta::type_name("FieldError"), x.pointer, x.detail);
}
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, Error& x) {
  const auto known = [&x]() -> caf::error {
    if (x.code >= ErrorCode::malformed_request && x.code <= ErrorCode::internal) return caf::none;
    return unreadable("no such error code");
  };
  return f(caf::meta::type_name("Error"), x.code, x.attempted, x.subject, x.reason, x.mend, x.transient,
           x.retry_after_sec, x.fields, caf::meta::load_callback(known));
}

/// An Error between actors: its code, and the whole as context.
caf::error to_caf(const Error& error);
/// What an asker makes of a failed request; CAF's own errors (a lost actor, a passed deadline) become ours.
Error from_caf(const caf::error& error, const std::string& attempted);

/// A Result as what a message handler returns.
template <class T>
caf::result<T> reply(Result<T> result) {
  if (!result) return to_caf(result.error());
  return std::move(*result);
}
inline caf::result<void> reply(const Result<void>& result) {
  if (!result) return to_caf(result.error());
  return caf::unit;
}

/// Answers a request with a result.
template <class T>
void deliver_result(caf::typed_response_promise<T> promise, Result<T> result) {
  if (result)
    promise.deliver(std::move(*result));
  else
    promise.deliver(to_caf(result.error()));
}

/// Answers a request that has no value to return.
inline void deliver_done(caf::typed_response_promise<void> promise) {
  static_cast<caf::response_promise&>(promise).deliver(caf::unit);
}

}  // namespace nanobox

// Values that stay on one node: they hold open files or handles of the process, or mean nothing elsewhere.
// clang-format off
#define NANOBOX_LOCAL_MESSAGE_TYPES(X) \
  X(::nanobox::ResolvedImage) \
  X(::nanobox::PulledImage) \
  X(::nanobox::IndexedImage) \
  X(::nanobox::BuiltImage) \
  X(::nanobox::BootRequest) \
  X(::nanobox::PlacedBoot) \
  X(::nanobox::AddressedBoot) \
  X(::nanobox::NetworkedBoot) \
  X(::nanobox::DiskedBoot) \
  X(::nanobox::StartedVm) \
  X(::nanobox::ReadyGuest) \
  X(::nanobox::ExecOutcome) \
  X(::nanobox::VmExit) \
  X(::nanobox::VmIdentity) \
  X(::nanobox::SandboxFiles) \
  X(std::shared_ptr<::nanobox::Vm>) \
  X(std::vector<std::byte>)
// clang-format on
#define NANOBOX_X(type) CAF_ALLOW_UNSAFE_MESSAGE_TYPE(type)
NANOBOX_LOCAL_MESSAGE_TYPES(NANOBOX_X)
#undef NANOBOX_X

CAF_BEGIN_TYPE_ID_BLOCK(nanobox, caf::first_custom_type_id)
CAF_ADD_TYPE_ID(nanobox, (nanobox::ErrorCode))
CAF_ADD_TYPE_ID(nanobox, (nanobox::FieldError))
CAF_ADD_TYPE_ID(nanobox, (nanobox::Error))
CAF_ADD_ATOM(nanobox, nanobox, resolve_atom, "resolve")
CAF_ADD_ATOM(nanobox, nanobox, pull_atom, "pull")
CAF_ADD_ATOM(nanobox, nanobox, extract_atom, "extract")
CAF_ADD_ATOM(nanobox, nanobox, build_atom, "build")
CAF_ADD_ATOM(nanobox, nanobox, publish_atom, "publish")
CAF_ADD_ATOM(nanobox, nanobox, place_atom, "place")
CAF_ADD_ATOM(nanobox, nanobox, address_atom, "address")
CAF_ADD_ATOM(nanobox, nanobox, network_atom, "network")
CAF_ADD_ATOM(nanobox, nanobox, disk_atom, "disk")
CAF_ADD_ATOM(nanobox, nanobox, vm_atom, "vm")
CAF_ADD_ATOM(nanobox, nanobox, shake_atom, "handshake")
CAF_ADD_ATOM(nanobox, nanobox, config_atom, "configure")
CAF_ADD_ATOM(nanobox, nanobox, rehearse_atom, "rehearse")
CAF_ADD_ATOM(nanobox, nanobox, undo_atom, "undo")
CAF_ADD_ATOM(nanobox, nanobox, progress_atom, "progress")
CAF_ADD_ATOM(nanobox, nanobox, cancel_atom, "cancel")
CAF_ADD_ATOM(nanobox, nanobox, work_atom, "work")
CAF_ADD_ATOM(nanobox, nanobox, retry_atom, "retry")
CAF_ADD_ATOM(nanobox, nanobox, probe_atom, "probe")
CAF_ADD_ATOM(nanobox, nanobox, record_atom, "record")
CAF_ADD_ATOM(nanobox, nanobox, warmup_atom, "warmup")
CAF_ADD_ATOM(nanobox, nanobox, create_atom, "create")
CAF_ADD_ATOM(nanobox, nanobox, remove_atom, "remove")
CAF_ADD_ATOM(nanobox, nanobox, exec_atom, "exec")
CAF_ADD_ATOM(nanobox, nanobox, keep_atom, "keepalive")
CAF_ADD_ATOM(nanobox, nanobox, adopt_atom, "adopt")
CAF_ADD_ATOM(nanobox, nanobox, end_atom, "end")
CAF_ADD_ATOM(nanobox, nanobox, ended_atom, "ended")
CAF_ADD_ATOM(nanobox, nanobox, expire_atom, "expire")
CAF_ADD_ATOM(nanobox, nanobox, bytes_atom, "bytes")
CAF_ADD_ATOM(nanobox, nanobox, ready_atom, "ready")
CAF_ADD_ATOM(nanobox, nanobox, exit_atom, "exit")
CAF_ADD_ATOM(nanobox, nanobox, disk_error_atom, "diskerror")
CAF_ADD_ATOM(nanobox, nanobox, tick_atom, "tick")
CAF_ADD_ATOM(nanobox, nanobox, start_atom, "start")
CAF_ADD_ATOM(nanobox, nanobox, drain_atom, "drain")
CAF_ADD_ATOM(nanobox, nanobox, console_atom, "console")
CAF_ADD_ATOM(nanobox, nanobox, open_atom, "open")
CAF_ADD_ATOM(nanobox, nanobox, opened_atom, "opened")
CAF_ADD_ATOM(nanobox, nanobox, gap_atom, "gap")
CAF_ADD_ATOM(nanobox, nanobox, window_atom, "window")
CAF_ADD_ATOM(nanobox, nanobox, failed_atom, "failed")
CAF_ADD_ATOM(nanobox, nanobox, grant_atom, "grant")
CAF_ADD_ATOM(nanobox, nanobox, write_atom, "write")
CAF_ADD_ATOM(nanobox, nanobox, signal_atom, "signal")
CAF_ADD_ATOM(nanobox, nanobox, resize_atom, "resize")
CAF_ADD_ATOM(nanobox, nanobox, close_atom, "close")
CAF_ADD_ATOM(nanobox, nanobox, post_atom, "post")
CAF_ADD_ATOM(nanobox, nanobox, pause_atom, "pause")
CAF_ADD_ATOM(nanobox, nanobox, resume_atom, "resume")
CAF_ADD_ATOM(nanobox, nanobox, fork_atom, "fork")
CAF_ADD_ATOM(nanobox, nanobox, snapshot_atom, "snapshot")
CAF_ADD_ATOM(nanobox, nanobox, capture_atom, "capture")
CAF_ADD_ATOM(nanobox, nanobox, take_atom, "take")
CAF_ADD_ATOM(nanobox, nanobox, fill_atom, "fill")
CAF_ADD_ATOM(nanobox, nanobox, rename_atom, "rename")
CAF_ADD_ATOM(nanobox, nanobox, ping_atom, "ping")
CAF_ADD_ATOM(nanobox, nanobox, thaw_atom, "thaw")

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

}  // namespace nanobox

// What travels between nodes, see actors/wire; handles of typed actors too, where they are a message's element.
CAF_ADD_TYPE_ID(nanobox, (nanobox::Sandbox))
CAF_ADD_TYPE_ID(nanobox, (nanobox::SandboxNetwork))
CAF_ADD_TYPE_ID(nanobox, (nanobox::Template))
CAF_ADD_TYPE_ID(nanobox, (nanobox::RunRecord))
CAF_ADD_TYPE_ID(nanobox, (nanobox::PoolState))
CAF_ADD_TYPE_ID(nanobox, (nanobox::SandboxDeath))
CAF_ADD_TYPE_ID(nanobox, (nanobox::ConcernReport))
CAF_ADD_TYPE_ID(nanobox, (nanobox::TemplateUsage))
CAF_ADD_TYPE_ID(nanobox, (nanobox::StageProgress))
CAF_ADD_TYPE_ID(nanobox, (nanobox::ImageRequest))
CAF_ADD_TYPE_ID(nanobox, (nanobox::WarmupRequest))
CAF_ADD_TYPE_ID(nanobox, (nanobox::WarmupAnswer))
CAF_ADD_TYPE_ID(nanobox, (nanobox::Forked))
CAF_ADD_TYPE_ID(nanobox, (nanobox::StreamRequest))
CAF_ADD_TYPE_ID(nanobox, (nanobox::GuestStream))
CAF_ADD_TYPE_ID(nanobox, (nanobox::Opened))
CAF_ADD_TYPE_ID(nanobox, (nanobox::StreamData))
CAF_ADD_TYPE_ID(nanobox, (nanobox::OutputGap))
CAF_ADD_TYPE_ID(nanobox, (nanobox::StdinWindow))
CAF_ADD_TYPE_ID(nanobox, (nanobox::StreamExit))
CAF_ADD_TYPE_ID(nanobox, (nanobox::TerminalSize))
CAF_ADD_TYPE_ID(nanobox, (nanobox::ConsolePiece))
CAF_ADD_TYPE_ID(nanobox, (nanobox::StreamSink))
CAF_ADD_TYPE_ID(nanobox, (nanobox::StreamSource))
CAF_END_TYPE_ID_BLOCK(nanobox)

CAF_ERROR_CODE_ENUM(nanobox::ErrorCode, "nanobox")
