#include "client_fixture.hpp"
#include "tools/nanobox/completion.hpp"

using namespace nanobox;
using namespace nanobox::cli;

namespace {

using Words = std::vector<std::string>;

const std::vector<CommandSpec> kCommands = {ps_command_spec(),     exec_command_spec(), cp_command_spec(),
                                            create_command_spec(), rm_command_spec(),   templates_command_spec(),
                                            node_command_spec(),   run_command_spec()};

/// Names as a server with two sandboxes, a template and a node would know them.
std::vector<Candidate> known(Named kind) {
  if (kind == Named::sandbox) return {{"sb-1", "box"}, {"sb-2", "node22"}};
  if (kind == Named::template_) return {{"box", "busybox"}};
  return {{"n1", "ready"}};
}

Words completed(const Words& words) {
  Words texts;
  for (const auto& candidate : complete(kCommands, words, known)) texts.push_back(candidate.text);
  return texts;
}

}  // namespace

TEST_CASE("the first word becomes a command, with what it does", "[client]") {
  CHECK(completed({"c"}) == Words{"cp", "create"});
  CHECK(complete(kCommands, {"ex"}, known) ==
        std::vector<Candidate>{{"exec", std::string(exec_command_spec().summary)}});
  CHECK(completed({"--v"}) == Words{"--version"});
  CHECK(completed({"help", "te"}) == Words{"templates"});
  CHECK(completed({"nonsense", ""}).empty());
}

TEST_CASE("a usage's word becomes the name of such a thing", "[client]") {
  CHECK(completed({"ps", ""}) == Words{"sb-1", "sb-2"});
  CHECK(completed({"ps", "sb-1", ""}).empty());
  CHECK(completed({"rm", "sb-1", "sb-"}) == Words{"sb-1", "sb-2"});
  CHECK(completed({"create", "b"}) == Words{"box"});
  CHECK(completed({"templates", ""}) == Words{"show", "rm"});
  CHECK(completed({"templates", "show", ""}) == Words{"box"});
  CHECK(completed({"node", "dr"}) == Words{"drain"});
  CHECK(completed({"node", "drain", ""}) == Words{"n1"});
  CHECK(completed({"node", "token", ""}).empty());
  CHECK(completed({"cp", "sb-"}) == Words{"sb-1:", "sb-2:"});
  CHECK(completed({"cp", "./"}).empty());
}

TEST_CASE("options are completed where options count, their values where they are names", "[client]") {
  CHECK(completed({"create", "--on"}) == Words{"--on-timeout"});
  CHECK(completed({"ps", "--template", ""}) == Words{"box"});
  CHECK(completed({"create", "--memory", ""}).empty());
  CHECK(completed({"create", "-m", "1G", ""}) == Words{"box"});
  CHECK(completed({"exec", "-it", ""}) == Words{"sb-1", "sb-2"});
  // What follows is a command in the sandbox, with options of its own.
  CHECK(completed({"exec", "sb-1", "--us"}).empty());
}

TEST_CASE("a shell's script is printed, and words are completed without a server", "[client]") {
  const Client client;
  for (const char* shell : {"bash", "zsh", "fish"})
    CHECK(client.run({"completion", shell}).out == std::string(completion_script(shell).value()));
  CHECK(client.run({"completion", "tcsh"}).exit.exit_code == 1);
  CHECK(client.run({"completion", "words", "--", "ps", "--templ"}).out ==
        "--template\tonly sandboxes made from this template\n");
  CHECK(client.run({"completion", "words", "--", "rm", ""}).out.empty());
}
