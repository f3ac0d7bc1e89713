#include "tools/nanobox/help.hpp"

#include <algorithm>

#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

std::string option_text(const Option& option) {
  std::string text = option.letter != 0 ? std::string("-") + option.letter + ", " : "    ";
  text += "--" + std::string(option.name);
  return option.value.empty() ? text : text + " " + std::string(option.value);
}

std::string two_columns(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::size_t width = 0;
  for (const auto& [left, right] : rows) width = std::max(width, columns_of(left));
  std::string out;
  for (const auto& [left, right] : rows)
    out += "  " + left + std::string(width - columns_of(left) + 2, ' ') + right + "\n";
  return out;
}

}  // namespace

std::vector<Option> with_server(std::vector<Option> options) {
  options.insert(options.end(), {{"server", 's', "URL", "the server; else NANOBOX_SERVER, else the one on this host"},
                                 {"help", 'h', "", "this text"}});
  return options;
}

std::vector<Option> with_common(std::vector<Option> options) {
  options.push_back({"json", 0, "", "print the server's JSON"});
  return with_server(std::move(options));
}

std::vector<Option> size_options() {
  return {{"vcpu", 'c', "COUNT", "processors, 1 to 32"},
          {"memory", 'm', "SIZE", "memory: 512M, 2G; a number alone is MiB"},
          {"disk", 0, "SIZE", "disk: 2G, 500M; a number alone is MiB"}};
}

std::vector<Option> exec_options() {
  return {{"env", 'e', "NAME=VALUE", "a variable for the command (NAME alone passes yours on); may be repeated"},
          {"cwd", 'w', "DIR", "the folder inside to run in"},
          {"user", 'u', "USER", "the user inside to run as"},
          {"timeout", 0, "SECONDS", "end the command after this long (exit code 124)"},
          {"stdin", 'i', "", "send our stdin to the command while it runs"},
          {"tty", 't', "", "run it in a terminal of its own, joined with ours; with -i for typing"},
          {"detach", 'd', "", "leave it running, and say its process id"}};
}

std::string command_help(const Program& program, const CommandSpec& command) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const auto& option : command.options) rows.emplace_back(option_text(option), option.help);
  return "Usage: " + std::string(program.name) + " " + std::string(command.name) + " [options]" +
         (command.usage.empty() ? "" : " " + std::string(command.usage)) + "\n\n" + std::string(command.lesson) +
         "\n\nOptions:\n" + two_columns(rows);
}

std::string program_help(const Program& program) {
  const std::string name(program.name);
  std::vector<std::pair<std::string, std::string>> rows;
  for (const auto& command : program.commands) rows.emplace_back(command.name, command.summary);
  return "Usage: " + name + " COMMAND [options]\n\n" + std::string(program.lesson) + "\n\nCommands:\n" +
         two_columns(rows) + "\n'" + name +
         " COMMAND --help' teaches each. The server is --server URL, else NANOBOX_SERVER, else the one on this\n"
         "host; its key is NANOBOX_KEY, else found in the data folder ($NANOBOX_DATA).\n";
}

}  // namespace nanobox::cli
