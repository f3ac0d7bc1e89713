#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>

#include "config/clock.hpp"
#include "tools/nanobox-inspect/commands.hpp"
#include "tools/nanobox-inspect/paper.hpp"
#include "tools/nanobox-inspect/run_options.hpp"
#include "tools/nanobox-inspect/stage_json.hpp"
#include "tools/nanobox-inspect/top_source.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/raw_terminal.hpp"
#include "tools/nanobox/screen_state.hpp"
#include "tools/nanobox/terminal_signals.hpp"

namespace nanobox::inspection {
namespace {

using Clock = std::chrono::steady_clock;

Error interrupted() {
  return {.code = ErrorCode::cancelled, .attempted = "show", .subject = "", .reason = "interrupted", .mend = ""};
}

/// The terminal as it was, in every way out.
class Screen {
public:
  Result<void> enter() {
    NANOBOX_TRY(raw_.enter());
    return draw("\x1b[?1049h\x1b[?25l");
  }
  ~Screen() { (void)cli::write_all(STDOUT_FILENO, state_.tidy_up()); }
  Screen() = default;
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  Result<void> draw(const std::string& text) {
    state_.drawn(text);
    return cli::write_all(STDOUT_FILENO, text);
  }

private:
  cli::RawTerminal raw_{STDIN_FILENO};
  cli::ScreenState state_;
};

/// What was typed until now, without waiting. Nothing: the terminal went away.
std::optional<std::string> typed() {
  std::array<char, 256> bytes;
  const auto got = ::read(STDIN_FILENO, bytes.data(), bytes.size());
  if (got < 0 && errno == EINTR) return "";
  if (got <= 0) return std::nullopt;
  return std::string(bytes.data(), static_cast<std::size_t>(got));
}

/// Draws, asks every `interval`, does what keys say, until left.
Result<int> live(cli::Session& session, TopSource& source, TopData& data, TopState& state,
                 std::chrono::milliseconds interval) {
  cli::TerminalSignals signals;
  Screen screen;
  NANOBOX_TRY(screen.enter());
  const auto style = style_for(session.environment, true);
  auto next = Clock::now() + interval;
  for (;;) {
    const auto size = cli::terminal_size();
    NANOBOX_TRY(screen.draw(screenful(draw_top(style, data, state, size))));
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()).count();
    std::array<pollfd, 3> waiting = {
        {{STDIN_FILENO, POLLIN, 0}, {signals.fd(), POLLIN, 0}, {session.interruption.fd(), POLLIN, 0}}};
    const int wait = state.paused ? -1 : static_cast<int>(std::max<std::int64_t>(0, left));
    if (::poll(waiting.data(), waiting.size(), wait) < 0 && errno != EINTR)
      return fail(errno_error(errno, "wait for keys", ""));
    if (session.interruption.check()) return fail(interrupted());
    while (signals.next() != 0) {
    }
    bool asks_anew = false;
    if (waiting[0].revents != 0) {
      const auto bytes = typed();
      if (!bytes) return kFine;
      const auto before = state;
      for (const auto key : keys_of(*bytes))
        if (!press(state, data, key, size)) return kFine;
      asks_anew =
          before.window_sec != state.window_sec || before.opened != state.opened || (before.paused && !state.paused);
      // At once, not after the server answered.
      if (asks_anew) NANOBOX_TRY(screen.draw(screenful(draw_top(style, data, state, size))));
    }
    if (!asks_anew && (state.paused || Clock::now() < next)) continue;
    NANOBOX_TRY(source.refresh(data, state));
    next = Clock::now() + interval;
  }
}

Result<void> check_top(const cli::Arguments& arguments) {
  NANOBOX_TRY(cli::seconds_option(arguments, "window", 10, 6 * 3600));
  NANOBOX_TRY(cli::seconds_option(arguments, "interval", 1, 60));
  return {};
}

Result<int> show_top(cli::Session& session) {
  const auto& arguments = session.arguments;
  TopState state;
  state.window_sec =
      static_cast<std::int64_t>(NANOBOX_TRY(cli::seconds_option(arguments, "window", 10, 6 * 3600)).value_or(60));
  const auto interval =
      std::chrono::seconds(NANOBOX_TRY(cli::seconds_option(arguments, "interval", 1, 60)).value_or(1));
  const auto server = NANOBOX_TRY(session.server());
  cli::ApiClient client(server.address, &session.interruption);
  TopSource source(client, run_query_of(arguments), state.window_sec);
  TopData data;
  data.server = server.address.url;
  data.now_us = precise_now().time_since_epoch().count();
  NANOBOX_TRY(source.refresh(data, state));
  const bool once = session.json() || arguments.has("once");
  if (!once && (::isatty(STDIN_FILENO) != 1 || ::isatty(STDOUT_FILENO) != 1))
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "show a live screen",
                 .subject = "",
                 .reason = "this is no terminal",
                 .mend = "--once prints one frame, --json its figures"});
  if (!once) return live(session, source, data, state, interval);
  if (session.json()) {
    NANOBOX_TRY(cli::print_json(top_json(data, state)));
  } else {
    const auto paper = paper_of(session);
    const auto size = cli::terminal_size();
    auto lines = draw_top(
        paper.style, data, state,
        {.columns = paper.columns == 0 ? size.columns : static_cast<unsigned>(paper.columns), .rows = size.rows});
    lines.pop_back();  // the keys
    while (!lines.empty() && lines.back().empty()) lines.pop_back();
    if (!paper.style.colour)
      for (auto& line : lines) line.erase(line.find_last_not_of(' ') + 1);
    NANOBOX_TRY(cli::print_text(joined(lines)));
  }
  if (data.problem.empty()) return kFine;
  cli::tell(data.problem);
  return kFailed;
}

}  // namespace

cli::CommandSpec top_command_spec() {
  return {.name = "top",
          .usage = "",
          .summary = "watch stages, actors, pools, nodes and runs, live",
          .lesson =
              "Shows live, over the last minute: how many of each stage ended and how long they took, which is the\n"
              "slowest, what waits in the actors' mailboxes, nodes, pools, and the runs. Keys: up and down choose a\n"
              "run, enter opens it, esc goes back, s and o change the order of stages and runs, w the window, p holds\n"
              "it, ? explains, q leaves.\n\n"
              "  nanobox-inspect top\n"
              "  nanobox-inspect top --once --window 10m\n\n"
              "Exit codes: 0 fine, 1 the server failed to answer, 2 usage.",
          .options = with_run_options({{"window", 'w', "TIME", "how far back: 90s, 10m, 1h (1m)"},
                                       {"interval", 'i', "SECONDS", "how often to ask (1)"},
                                       {"once", '1', "", "print one frame and end"}}),
          .most_words = 0,
          .check = check_top,
          .run = show_top};
}

}  // namespace nanobox::inspection
