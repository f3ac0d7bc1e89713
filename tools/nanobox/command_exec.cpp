#include <unistd.h>

#include "tools/nanobox/command.hpp"
#include "tools/nanobox/exec_call.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/lease.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/sandbox_calls.hpp"
#include "tools/nanobox/terminal_session.hpp"

namespace nanobox::cli {
namespace {

Result<int> exec(Session& session) {
  const auto& args = session.arguments;
  auto call = NANOBOX_TRY(read_exec_call(session));
  call.sandbox_id = args.words.front();
  call.command = {args.words.begin() + 1, args.words.end()};
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  call.tick = lease_of(server.address, call.sandbox_id);
  call.tick_every = kLeaseTick;
  if (args.has("tty")) return exec_in_terminal(server.address, session.interruption, call);
  if (args.has("detach")) {
    const auto started = NANOBOX_TRY(exec_detached(client, call));
    NANOBOX_TRY(session.json() ? print_json(started.body) : print_text(json_text(started.json(), "process_id") + "\n"));
    return 0;
  }
  return session.json() ? exec_as_json(client, call) : exec_streamed(client, call);
}

Result<int> shell(Session& session) {
  const auto& args = session.arguments;
  const auto server = NANOBOX_TRY(session.server());
  const TerminalCall call{.sandbox_id = args.words.front(),
                          .command = {args.words.begin() + 1, args.words.end()},
                          .env = NANOBOX_TRY(read_variables(args.values("env"), session.environment)),
                          .cwd = args.value("cwd").value_or(""),
                          .user = args.value("user").value_or(""),
                          .tick = lease_of(server.address, args.words.front()),
                          .tick_every = kLeaseTick};
  return run_terminal(server.address, session.interruption, call);
}

}  // namespace

Result<ExecCall> read_exec_call(const Session& session) {
  const auto& args = session.arguments;
  const auto refuse = [](std::string options, std::string reason, std::string mend) {
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "read command line",
                 .subject = std::move(options),
                 .reason = std::move(reason),
                 .mend = std::move(mend)});
  };
  const bool tty = args.has("tty"), detach = args.has("detach"), json = args.has("json");
  if (tty && detach) return refuse("-t -d", "what is left alone has no terminal", "leave out one of them");
  if (tty && json) return refuse("-t --json", "a terminal's output is no JSON", "leave out one of them");
  if (tty && args.has("timeout"))
    return refuse("-t --timeout", "a terminal session has no deadline", "write: timeout SECONDS COMMAND…");
  if (tty && args.has("stdin") && ::isatty(STDIN_FILENO) != 1)
    return refuse("-t", "stdin is no terminal", "use -i alone to send a file or a pipe");
  return ExecCall{.sandbox_id = "",
                  .command = {},
                  .env = NANOBOX_TRY(read_variables(args.values("env"), session.environment)),
                  .cwd = args.value("cwd").value_or(""),
                  .user = args.value("user").value_or(""),
                  .sends_stdin = args.has("stdin"),
                  .timeout_ms = NANOBOX_TRY(number_option(args, "timeout", 1, 604'800)).value_or(0) * 1000};
}

Result<int> exec_in_terminal(const ServerAddress& server, Interruption& interruption, const ExecCall& call) {
  return run_terminal(server, interruption,
                      {.sandbox_id = call.sandbox_id,
                       .command = call.command,
                       .env = call.env,
                       .cwd = call.cwd,
                       .user = call.user,
                       .sends_stdin = call.sends_stdin,
                       .tick = call.tick,
                       .tick_every = call.tick_every});
}

CommandSpec exec_command_spec() {
  return {.name = "exec",
          .usage = "SANDBOX [--] COMMAND [ARG…]",
          .summary = "run a command in a running sandbox",
          .lesson =
              "Runs the command. Its output comes as it is written, to stdout and stderr, byte by byte; nanobox exits\n"
              "with its exit code. Ctrl-C ends the command. Options come before the sandbox.\n\n"
              "  nanobox exec sb-01jq… -- ls -l /\n"
              "  nanobox exec --cwd /app --user node sb-01jq… npm test\n"
              "  nanobox exec -i sb-01jq… sh < script.sh       stdin goes inside while the command runs\n"
              "  nanobox exec -it sb-01jq… sh                  in a terminal (leave a hung one by Enter ~ .)\n"
              "  ID=$(nanobox exec -d sb-01jq… ./server)       left running: see ps, attach and kill\n\n"
              "With -t stdout and stderr are one. With --json the whole output comes at the end, in one object.\n"
              "The sandbox does not end while the command is attended.\n\n"
              "Exit codes: the command's own; 124 its deadline ended it; 125 nanobox failed; 130 Ctrl-C.",
          .options = with_common(exec_options()),
          .order = WordOrder::command_last,
          .least_words = 2,
          .failure_code = kOwnFailure,
          .run = exec};
}

CommandSpec shell_command_spec() {
  return {
      .name = "shell",
      .usage = "SANDBOX [--] [COMMAND [ARG…]]",
      .summary = "work in a running sandbox, as by SSH",
      .lesson =
          "Opens a terminal in the sandbox, with a shell or the command in it. Needs a terminal here too. The sandbox\n"
          "does not end meanwhile.\n"
          "Options come before the sandbox.\n\n"
          "  nanobox shell sb-01jq…\n"
          "  nanobox shell --user node --cwd /app sb-01jq… -- bash -l\n\n"
          "Keys at the beginning of a line, as ssh's:\n"
          "  ~.   leaves the session, also one that hangs; what runs in it is ended\n"
          "  ~^Z  suspends nanobox: 'fg' goes on\n"
          "  ~~   sends one ~\n"
          "  ~?   shows these\n\n"
          "Exit codes: the shell's own; 125 nanobox failed, or was left by '~.'.",
      .options = with_server({{"env", 'e', "NAME=VALUE", "a variable (NAME alone passes yours on); may be repeated"},
                              {"cwd", 'w', "DIR", "the folder inside to begin in"},
                              {"user", 'u', "USER", "the user inside to be"}}),
      .order = WordOrder::command_last,
      .least_words = 1,
      .failure_code = kOwnFailure,
      .run = shell};
}

}  // namespace nanobox::cli
