#include "tools/nanobox/program.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>

#include "config/edit_distance.hpp"
#include "tools/nanobox/help.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

constexpr int kUsage = 2;

/// An error for a person: lines of its own for the mend and for each field.
void complain(const Program& program, const Error& error) {
  auto plain = error;
  plain.mend.clear();
  auto text = std::string(program.name) + ": ";
  for (const char c : describe(plain)) text += c == '\n' ? "\n" : printable(std::string_view(&c, 1));
  for (const auto& field : error.fields) text += "\n  " + printable(field.pointer) + ": " + printable(field.detail);
  if (!error.mend.empty()) text += "\n  " + printable(error.mend);
  tell(text);
}

int unknown_command(const Program& program, const std::string& name) {
  std::vector<std::string> known;
  for (const auto& command : program.commands) known.emplace_back(command.name);
  const auto near = nearest(name, known);
  tell(std::string(program.name) + ": there is no command '" + printable(name) + "'" +
       (near ? "; did you mean '" + *near + "'?" : "; see " + std::string(program.name) + " --help"));
  return kUsage;
}

Result<Arguments> read_arguments(const Program& program, const CommandSpec& command,
                                 const std::vector<std::string>& args) {
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
               .mend = "usage: " + std::string(program.name) + " " + std::string(command.name) + " " +
                       std::string(command.usage)});
}

int run_command(const Program& program, const CommandSpec& command, const std::vector<std::string>& args) {
  auto arguments = read_arguments(program, command, args);
  if (!arguments) {
    complain(program, arguments.error());
    return kUsage;
  }
  if (arguments->has("help")) {
    (void)print_text(command_help(program, command));
    return 0;
  }
  Interruption interruption;
  Session session{.environment = process_environment(),
                  .interruption = interruption,
                  .arguments = std::move(*arguments),
                  .commands = program.commands};
  const auto code = command.run(session);
  if (code) return *code;
  if (code.error().code == ErrorCode::cancelled) return interruption.exit_code();
  complain(program, code.error());
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

int main_of(const Program& program, std::vector<std::string> args) {
  const auto& commands = program.commands;
  args = with_command_first(std::move(args));
  if (args.empty() || args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    if (args.size() > 1) {
      const auto command = std::ranges::find(commands, args[1], &CommandSpec::name);
      if (command == commands.end()) return unknown_command(program, args[1]);
      (void)print_text(command_help(program, *command));
      return 0;
    }
    (void)print_text(program_help(program));
    return args.empty() ? kUsage : 0;
  }
  if (args[0] == "--version") {
    (void)print_text(std::string(program.name) + " " + std::string(program.version) + "\n");
    return 0;
  }
  const auto command = std::ranges::find(commands, args[0], &CommandSpec::name);
  if (command == commands.end()) return unknown_command(program, args[0]);
  return run_command(program, *command, {args.begin() + 1, args.end()});
}

}  // namespace

int program_main(const Program& program, int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  try {
    return main_of(program, {argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", std::string(program.name).c_str(), error.what());
    return 1;
  }
}

}  // namespace nanobox::cli
