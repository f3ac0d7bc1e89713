#include "tools/nanobox/terminal_session.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <optional>

#include "tools/nanobox/api_client.hpp"
#include "tools/nanobox/command.hpp"
#include "tools/nanobox/escape_keys.hpp"
#include "tools/nanobox/event_loop.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/raw_terminal.hpp"
#include "tools/nanobox/screen_state.hpp"
#include "tools/nanobox/terminal_signals.hpp"
#include "tools/nanobox/websocket.hpp"

namespace nanobox::cli {
namespace {

constexpr std::string_view kKeysHelp =
    "\r\nnanobox: at the beginning of a line\r\n"
    "  ~.   leaves the session (the command inside is ended)\r\n"
    "  ~^Z  suspends nanobox\r\n"
    "  ~~   sends ~\r\n";

Error broken(std::string reason) {
  return {.code = ErrorCode::io_failed,
          .attempted = "keep terminal session",
          .subject = "",
          .reason = std::move(reason),
          .mend = ""};
}

/// One session: stdin → socket → inside, and back, each direction at the speed of its reader.
class TerminalSession {
public:
  TerminalSession(EventLoop& loop, const ServerAddress& server, Interruption& interruption, const TerminalCall& call)
      : loop_(loop), interruption_(interruption), call_(call), size_(terminal_size()), terminal_(STDIN_FILENO) {
    socket_ = WebSocket::make(loop, server, terminal_path(call, size_.columns, size_.rows), "nanobox.terminal");
  }

  void start() {
    await_interruption();
    await_terminal_signals();
    if (call_.tick) schedule_tick();
    socket_->open([this](const Result<void>& opened) {
      if (!opened) return end(fail(opened.error()));
      if (call_.sends_stdin)
        if (auto entered = terminal_.enter(); !entered) return end(fail(entered.error()));
      open_ = true;
      tell_size();
      read_socket();
      if (call_.sends_stdin) read_keys();
    });
  }

  /// Once the loop has stopped: the terminal is as it was.
  Result<int> outcome() {
    terminal_.leave();
    const bool early = !outcome_ || !outcome_->has_value() || left_;
    if (open_ && early && ::isatty(STDOUT_FILENO) == 1) (void)write_all(STDOUT_FILENO, screen_.tidy_up() + "\r\n");
    if (left_) tell("nanobox: left the session");
    return outcome_ ? *outcome_ : fail(broken("it ended early"));
  }

private:
  void end(Result<int> outcome) {
    if (outcome_) return;
    outcome_ = std::move(outcome);
    loop_.stop();
  }

  void read_socket() {
    socket_->read([this](WebSocket::Received received) {
      if (const auto* close = std::get_if<SocketClose>(&received)) return closed(*close);
      auto& message = std::get<SocketMessage>(received);
      if (message.text) return read_socket();
      screen_.drawn(message.bytes);
      output_ = std::move(message.bytes);
      write_output();
    });
  }

  void write_output() {
    if (output_.empty()) return read_socket();
    loop_.when_writable(STDOUT_FILENO, [this] {
      const auto written = ::write(STDOUT_FILENO, output_.data(), std::min<std::size_t>(output_.size(), PIPE_BUF));
      if (written < 0 && errno != EINTR && errno != EAGAIN) return end(fail(errno_error(errno, "write", "terminal")));
      if (written > 0) output_.erase(0, static_cast<std::size_t>(written));
      write_output();
    });
  }

  void read_keys() {
    loop_.when_readable(STDIN_FILENO, [this] {
      std::array<char, 4096> buffer;
      const auto got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) return read_keys();
      if (got <= 0) return end(fail(broken("the terminal is gone")));
      auto typed = keys_.take({buffer.data(), static_cast<std::size_t>(got)});
      if (typed.leave) return leave();
      if (typed.explain) (void)write_all(STDOUT_FILENO, kKeysHelp);
      if (typed.suspend) suspend();
      if (typed.bytes.empty()) return read_keys();
      socket_->send({.text = false, .bytes = std::move(typed.bytes)}, [this] { read_keys(); });
    });
  }

  void leave() {
    left_ = true;
    end(kOwnFailure);
  }

  void closed(const SocketClose& close) {
    if (const auto code = exit_code_of(close.reason); code && close.code == SocketClose::kNormal) return end(*code);
    if (close.code == SocketClose::kLost)
      return end(fail(broken("the connection to the server broke: " + close.reason)));
    end(fail(
        broken(close.reason.empty() ? "the server closed it (" + std::to_string(close.code) + ")" : close.reason)));
  }

  void await_interruption() {
    loop_.when_readable(interruption_.fd(), [this] {
      if (!interruption_.check()) return await_interruption();
      // The closed connection ends the command inside, as a hung up terminal does.
      end(fail({.code = ErrorCode::cancelled,
                .attempted = "keep terminal session",
                .subject = "",
                .reason = "interrupted",
                .mend = ""}));
    });
  }

  void await_terminal_signals() {
    loop_.when_readable(signals_.fd(), [this] {
      while (const int number = signals_.next()) {
        if (number == SIGTSTP) suspend();
        if (number == SIGCONT) resume();
      }
      tell_size();
      await_terminal_signals();
    });
  }

  /// Stops this process as Ctrl-Z does; goes on when the shell says so.
  void suspend() {
    terminal_.leave();
    ::raise(SIGSTOP);
    resume();
  }

  void resume() {
    if (!open_ || !call_.sends_stdin) return;
    terminal_.leave();
    if (auto entered = terminal_.enter(); !entered) return end(fail(entered.error()));
    tell_size();
  }

  void tell_size() {
    const auto now = terminal_size();
    if (!open_ || now == size_) return;
    size_ = now;
    socket_->send({.text = true,
                   .bytes = "{\"resize\":{\"cols\":" + std::to_string(now.columns) +
                            ",\"rows\":" + std::to_string(now.rows) + "}}"},
                  {});
  }

  void schedule_tick() {
    loop_.after(call_.tick_every, [this] {
      call_.tick();
      schedule_tick();
    });
  }

  EventLoop& loop_;
  Interruption& interruption_;
  const TerminalCall& call_;
  TerminalSignals signals_;
  TerminalSize size_;
  RawTerminal terminal_;
  EscapeKeys keys_;
  ScreenState screen_;
  std::shared_ptr<WebSocket> socket_;
  std::string output_;
  bool open_ = false;
  bool left_ = false;
  std::optional<Result<int>> outcome_;
};

}  // namespace

std::string terminal_path(const TerminalCall& call, unsigned columns, unsigned rows) {
  std::string path =
      sandbox_path(call.sandbox_id) + "/terminal?cols=" + std::to_string(columns) + "&rows=" + std::to_string(rows);
  const auto add = [&](std::string_view name, std::string_view value) {
    path += "&" + std::string(name) + "=" + url_encode(value);
  };
  for (std::size_t at = 0; at < call.command.size(); ++at) add(at == 0 ? "command" : "arg", call.command[at]);
  if (!call.user.empty()) add("user", call.user);
  if (!call.cwd.empty()) add("cwd", call.cwd);
  if (const char* kind = std::getenv("TERM"); kind != nullptr && *kind != '\0' && !call.env.contains("TERM"))
    add("env", "TERM=" + std::string(kind));
  for (const auto& [name, value] : call.env) add("env", name + "=" + value);
  return path;
}

std::optional<int> exit_code_of(std::string_view close_reason) {
  constexpr std::string_view word = "exit ";
  if (!close_reason.starts_with(word)) return std::nullopt;
  int code = 0;
  const auto* end = close_reason.data() + close_reason.size();
  const auto [stop, wrong] = std::from_chars(close_reason.data() + word.size(), end, code);
  if (wrong != std::errc{} || stop != end || code < 0 || code > 255) return std::nullopt;
  return code;
}

Result<int> run_terminal(const ServerAddress& server, Interruption& interruption, const TerminalCall& call) {
  if (call.sends_stdin && ::isatty(STDIN_FILENO) != 1)
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "open terminal session",
                 .subject = "",
                 .reason = "stdin is no terminal",
                 .mend = "leave out -t to send a file or a pipe: nanobox exec -i …"});
  EventLoop loop;
  TerminalSession session(loop, server, interruption, call);
  session.start();
  loop.run();
  return session.outcome();
}

}  // namespace nanobox::cli
