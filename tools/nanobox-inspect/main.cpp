#include "tools/nanobox-inspect/commands.hpp"
#include "tools/nanobox/program.hpp"

namespace {

nanobox::cli::Program inspect_program() {
  using namespace nanobox::inspection;
  return {.name = "nanobox-inspect",
          .version = NANOBOX_VERSION,
          .lesson =
              "Shows what a NanoBox server does, and where its time goes. The first one to try:\n\n"
              "  nanobox-inspect top\n\n"
              "Exit codes: 0 fine, 1 a request failed (of 'run': or the run did), 2 the command line is wrong,\n"
              "3 'diff' found something slower than its --threshold allows.",
          .commands = {top_command_spec(), runs_command_spec(), run_command_spec(), hotspots_command_spec(),
                       diff_command_spec(), trace_command_spec(), actors_command_spec(), pipelines_command_spec()}};
}

}  // namespace

int main(int argc, char** argv) {
  return nanobox::cli::program_main(inspect_program(), argc, argv);
}
