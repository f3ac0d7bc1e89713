#include "tools/nanobox/program.hpp"

namespace nanobox::cli {
namespace {

std::vector<CommandSpec> all_commands() {
  return {run_command_spec(),     exec_command_spec(),      shell_command_spec(),     ps_command_spec(),
          attach_command_spec(),  kill_command_spec(),      cp_command_spec(),        port_forward_command_spec(),
          inspect_command_spec(), logs_command_spec(),      create_command_spec(),    pause_command_spec(),
          resume_command_spec(),  fork_command_spec(),      snapshot_command_spec(),  rm_command_spec(),
          warmup_command_spec(),  templates_command_spec(), doctor_command_spec(),    nodes_command_spec(),
          node_command_spec(),    stats_command_spec(),     completion_command_spec()};
}

Program nanobox_program() {
  return {.name = "nanobox",
          .version = NANOBOX_VERSION,
          .lesson =
              "Runs commands of container images in microVMs. The first one to try:\n\n"
              "  nanobox run busybox -- echo hello",
          .commands = all_commands()};
}

}  // namespace
}  // namespace nanobox::cli

int main(int argc, char** argv) {
  return nanobox::cli::program_main(nanobox::cli::nanobox_program(), argc, argv);
}
