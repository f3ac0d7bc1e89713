#include "actors/wire/guest_stream_inspect.hpp"

#include "actors/concerns.hpp"
#include "actors/guest_stream.hpp"

namespace nanobox {

// The bindings see to it that every member is there: one that is added breaks them.

template <class F>
caf::error members(F& f, TerminalSize& x) {
  auto& [columns, rows] = x;
  return f(columns, rows);
}

template <class F>
caf::error inspect(F& f, FileInfo& x) {
  auto& [type, size_bytes, mode, uid, gid, mtime_ns, target] = x;
  return f(checked(type, FileType::unknown, FileType::socket), size_bytes, mode, uid, gid, mtime_ns, target);
}

template <class F>
caf::error members(F& f, Opened& x) {
  auto& [stream, pid, offset, file, last] = x;
  return f(stream, pid, offset, optionally(file), last);
}

template <class F>
caf::error members(F& f, StreamData& x) {
  auto& [stream, part, bytes, last] = x;
  return f(stream, checked(part, StreamPart::stdin_part, StreamPart::stderr_part), block(bytes), last);
}

template <class F>
caf::error members(F& f, OutputGap& x) {
  auto& [stream, offset] = x;
  return f(stream, offset);
}

template <class F>
caf::error members(F& f, StdinWindow& x) {
  auto& [stream, queued] = x;
  return f(stream, queued);
}

template <class F>
caf::error members(F& f, StreamExit& x) {
  auto& [stream, exit_code, signal, timed_out] = x;
  return f(stream, exit_code, signal, timed_out);
}

template <class F>
caf::error members(F& f, ConsolePiece& x) {
  auto& [bytes, end] = x;
  return f(bytes, end);
}

template <class F>
caf::error members(F& f, GuestStream& x) {
  auto& [source, number] = x;
  if (auto error = f(source, number)) return error;
  // Whoever has one monitors it.
  return source ? caf::none : unreadable("a stream has no source");
}

template <class F>
caf::error members(F& f, ExecRequest& x) {
  auto& [argv, env, cwd, user, deadline_ms, process_id, detached, terminal] = x;
  return f(argv, env, cwd, user, deadline_ms, process_id, detached, optionally(terminal));
}

template <class F>
caf::error members(F& f, AttachRequest& x) {
  auto& [process_id, pid, offset] = x;
  return f(process_id, pid, offset);
}

template <class F>
caf::error members(F& f, InputRequest& x) {
  auto& [process_id, eof] = x;
  return f(process_id, eof);
}

template <class F>
caf::error members(F&, ProcessesRequest&) {
  return caf::none;
}

template <class F>
caf::error members(F& f, SignalRequest& x) {
  auto& [process_id, number] = x;
  return f(process_id, number);
}

template <class F>
caf::error members(F& f, ForgetRequest& x) {
  auto& [process_id] = x;
  return f(process_id);
}

template <class F>
caf::error members(F& f, FileReadRequest& x) {
  auto& [path, user, offset, length] = x;
  return f(path, user, offset, optionally(length));
}

template <class F>
caf::error members(F& f, FileWriteRequest& x) {
  auto& [path, user, mode] = x;
  return f(path, user, optionally(mode));
}

/// And those that are one by another name.
template <class F>
caf::error members(F& f, FileRequest& x) {
  auto& [path, user] = x;
  return f(path, user);
}

template <class F>
caf::error members(F& f, FileRemoveRequest& x) {
  auto& [path, user, recursive] = x;
  return f(path, user, recursive);
}

template <class F>
caf::error members(F& f, FileRenameRequest& x) {
  auto& [path, to, user, parents] = x;
  return f(path, to, user, parents);
}

template <class F>
caf::error members(F& f, FolderMakeRequest& x) {
  auto& [path, user, parents, mode] = x;
  return f(path, user, parents, mode);
}

template <class F>
caf::error members(F& f, TcpRequest& x) {
  auto& [port] = x;
  return f(port);
}

template <class F>
caf::error members(F& f, LogRequest& x) {
  auto& [offset, follow] = x;
  return f(offset, follow);
}

caf::error members(caf::serializer& sink, StreamRequest& x) {
  auto index = static_cast<std::uint8_t>(x.index());
  if (auto error = sink(index)) return error;
  return std::visit([&](auto& request) { return members(sink, request); }, x);
}

namespace {

/// Reads alternative `I`, or the one after it that `index` says.
template <std::size_t I = 0>
caf::error load_alternative(caf::deserializer& source, std::size_t index, StreamRequest& x) {
  if constexpr (I < std::variant_size_v<StreamRequest>) {
    return index == I ? members(source, x.emplace<I>()) : load_alternative<I + 1>(source, index, x);
  } else {
    return unreadable("there is no request " + std::to_string(index));
  }
}

template <class T>
caf::error load(caf::deserializer& source, T& x) {
  T read{};
  if (auto error = members(source, read)) return error;
  x = std::move(read);
  return caf::none;
}

}  // namespace

caf::error members(caf::deserializer& source, StreamRequest& x) {
  std::uint8_t index = 0;
  if (auto error = source(index)) return error;
  return load_alternative(source, index, x);
}

#define NANOBOX_X(type)                                    \
  caf::error inspect(caf::serializer& sink, type& x) {     \
    return members(sink, x);                               \
  }                                                        \
  caf::error inspect(caf::deserializer& source, type& x) { \
    return load(source, x);                                \
  }
NANOBOX_X(StreamRequest)
NANOBOX_X(GuestStream)
NANOBOX_X(Opened)
NANOBOX_X(StreamData)
NANOBOX_X(OutputGap)
NANOBOX_X(StdinWindow)
NANOBOX_X(StreamExit)
NANOBOX_X(TerminalSize)
NANOBOX_X(ConsolePiece)
#undef NANOBOX_X

}  // namespace nanobox
