#include <curl/curl.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>

#include "config/edit_distance.hpp"
#include "tools/nanobox/command.hpp"
#include "tools/nanobox/help.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

constexpr int kUsage = 2;

std::vector<CommandSpec> all_commands() {
  return {run_command_spec(),     exec_command_spec(),      shell_command_spec(),     ps_command_spec(),
          attach_command_spec(),  kill_command_spec(),      cp_command_spec(),        port_forward_command_spec(),
          inspect_command_spec(), logs_command_spec(),      create_command_spec(),    pause_command_spec(),
          resume_command_spec(),  fork_command_spec(),      snapshot_command_spec(),  rm_command_spec(),
          warmup_command_spec(),  templates_command_spec(), doctor_command_spec(),    nodes_command_spec(),
          node_command_spec(),    stats_command_spec(),     completion_command_spec()};
}

/// An error for a person: lines of its own for the mend and for each field.
void complain(const Error& error) {
  auto plain = error;
  plain.mend.clear();
  std::string text = "nanobox: ";
  for (const char c : describe(plain)) text += c == '\n' ? "\n" : printable(std::string_view(&c, 1));
  for (const auto& field : error.fields) text += "\n  " + printable(field.pointer) + ": " + printable(field.detail);
  if (!error.mend.empty()) text += "\n  " + printable(error.mend);
  tell(text);
}

int unknown_command(const std::string& name, const std::vector<CommandSpec>& commands) {
  std::vector<std::string> known;
  for (const auto& command : commands) known.emplace_back(command.name);
  const auto near = nearest(name, known);
  tell("nanobox: there is no command '" + printable(name) + "'" +
       (near ? "; did you mean '" + *near + "'?" : "; see nanobox --help"));
  return kUsage;
}

Result<Arguments> read_arguments(const CommandSpec& command, const std::vector<std::string>& args) {
  auto arguments = NANOBOX_TRY(parse_arguments(args, command.options, command.order));
  if (arguments.has("help")) return arguments;
  const auto count = arguments.words.size();
  if (count >= command.least_words && count <= command.most_words) {
    if (command.check != nullptr) NANOBOX_TRY(command.check(arguments));
    return arguments;
  }
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "read command line",
               .subject = "",
               .reason = count < command.least_words ? "something is missing"
                                                     : "'" + arguments.words.back() + "' is one word too many",
               .mend = "usage: nanobox " + std::string(command.name) + " " + std::string(command.usage)});
}

int run_command(const CommandSpec& command, const std::vector<CommandSpec>& commands,
                const std::vector<std::string>& args) {
  auto arguments = read_arguments(command, args);
  if (!arguments) {
    complain(arguments.error());
    return kUsage;
  }
  if (arguments->has("help")) {
    (void)print_text(command_help(command));
    return 0;
  }
  Interruption interruption;
  Session session{.environment = process_environment(),
                  .interruption = interruption,
                  .arguments = std::move(*arguments),
                  .commands = commands};
  const auto code = command.run(session);
  if (code) return *code;
  if (code.error().code == ErrorCode::cancelled) return interruption.exit_code();
  complain(code.error());
  return command.failure_code;
}

/// `nanobox --server URL COMMAND …` is `nanobox COMMAND --server URL …`.
std::vector<std::string> with_command_first(std::vector<std::string> args) {
  const std::size_t before = !args.empty() && args[0] == "--server"              ? 2
                             : !args.empty() && args[0].starts_with("--server=") ? 1
                                                                                 : 0;
  if (before != 0 && args.size() > before)
    std::rotate(args.begin(), args.begin() + static_cast<std::ptrdiff_t>(before),
                args.begin() + static_cast<std::ptrdiff_t>(before) + 1);
  return args;
}

int main_of(std::vector<std::string> args) {
  const auto commands = all_commands();
  args = with_command_first(std::move(args));
  if (args.empty() || args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    if (args.size() > 1) {
      const auto command = std::ranges::find(commands, args[1], &CommandSpec::name);
      if (command == commands.end()) return unknown_command(args[1], commands);
      (void)print_text(command_help(*command));
      return 0;
    }
    (void)print_text(program_help(commands));
    return args.empty() ? kUsage : 0;
  }
  if (args[0] == "--version") {
    (void)print_text("nanobox " NANOBOX_VERSION "\n");
    return 0;
  }
  const auto command = std::ranges::find(commands, args[0], &CommandSpec::name);
  if (command == commands.end()) return unknown_command(args[0], commands);
  return run_command(*command, commands, {args.begin() + 1, args.end()});
}

}  // namespace
}  // namespace nanobox::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  try {
    return nanobox::cli::main_of({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "nanobox: %s\n", error.what());
    return 1;
  }
}
