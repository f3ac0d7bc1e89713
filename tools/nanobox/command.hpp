#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "config/settings.hpp"
#include "tools/nanobox/interruption.hpp"
#include "tools/nanobox/options.hpp"
#include "tools/nanobox/server_address.hpp"

namespace nanobox::cli {

struct CommandSpec;

/// What every command gets.
struct Session {
  Environment environment;
  Interruption& interruption;
  Arguments arguments;
  const std::vector<CommandSpec>& commands;  ///< all there are

  bool json() const { return arguments.has("json"); }
  /// @param may_start  start a server of our own where none answers
  Result<FoundServer> server(bool may_start = false) const {
    return find_server({.named = arguments.value("server"), .may_start = may_start}, environment, interruption);
  }
};

/// One command of `nanobox`.
struct CommandSpec {
  std::string_view name;
  std::string_view usage;    ///< "IMAGE [--] COMMAND…"
  std::string_view summary;  ///< one line of `nanobox --help`
  std::string_view lesson;   ///< what it does, with examples: `nanobox NAME --help`
  std::vector<Option> options;
  WordOrder order = WordOrder::mixed;
  std::size_t least_words = 0;
  std::size_t most_words = ~std::size_t{0};
  int failure_code = 1;  ///< exit code when nanobox itself fails
  /// What else is wrong of the command line, as usage; null: nothing more to look at.
  Result<void> (*check)(const Arguments& arguments) = nullptr;
  Result<int> (*run)(Session& session);  ///< the exit code
};

CommandSpec run_command_spec();
CommandSpec warmup_command_spec();
CommandSpec ps_command_spec();
CommandSpec create_command_spec();
CommandSpec exec_command_spec();
CommandSpec shell_command_spec();
CommandSpec attach_command_spec();
CommandSpec kill_command_spec();
CommandSpec cp_command_spec();
CommandSpec port_forward_command_spec();
CommandSpec pause_command_spec();
CommandSpec resume_command_spec();
CommandSpec fork_command_spec();
CommandSpec snapshot_command_spec();
CommandSpec rm_command_spec();
CommandSpec templates_command_spec();
CommandSpec inspect_command_spec();
CommandSpec logs_command_spec();
CommandSpec doctor_command_spec();
CommandSpec nodes_command_spec();
CommandSpec node_command_spec();
CommandSpec stats_command_spec();
CommandSpec completion_command_spec();

/// Options that all commands share.
std::vector<Option> with_server(std::vector<Option> options);
/// The same, and --json.
std::vector<Option> with_common(std::vector<Option> options);
std::vector<Option> size_options();
/// How a command inside is run: environment, folder, user, deadline, stdin, terminal, detached.
std::vector<Option> exec_options();

/// Exit code of run and exec where nanobox failed, not the command (as docker's).
inline constexpr int kOwnFailure = 125;
/// Exit code of a command that its deadline ended (as timeout(1)'s).
inline constexpr int kTimedOut = 124;

}  // namespace nanobox::cli
