#include "tools/nanobox/command.hpp"
#include "tools/nanobox/completion.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/listing.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

struct Listing {
  const char* path;
  std::string_view name;
  std::string_view help;
};

Listing listing_of(Named kind) {
  switch (kind) {
    case Named::sandbox:
      return {"/api/v1/sandboxes", "id", "template"};
    case Named::template_:
      return {"/api/v1/templates", "name", "image"};
    case Named::node:
      return {"/api/v1/nodes", "id", "status"};
  }
  return {};
}

Result<std::vector<Candidate>> ask_names(Session& session, Named kind) {
  const auto listing = listing_of(kind);
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  std::vector<Candidate> names;
  NANOBOX_TRY(each_item(client, listing.path, [&](const rapidjson::Value& item) {
    names.push_back({json_text(item, listing.name), json_text(item, listing.help)});
  }));
  return names;
}

/// One line a candidate, with its help behind a tab. That no server answers is no error while someone types.
Result<int> print_candidates(Session& session) {
  const auto& words = session.arguments.words;
  const auto known = [&](Named kind) { return ask_names(session, kind).value_or(std::vector<Candidate>{}); };
  std::string lines;
  for (const auto& candidate : complete(session.commands, {words.begin() + 1, words.end()}, known))
    lines += printable(candidate.text) + (candidate.help.empty() ? "" : "\t" + printable(candidate.help)) + "\n";
  NANOBOX_TRY(print_text(lines));
  return 0;
}

Result<int> run(Session& session) {
  const auto& what = session.arguments.words.front();
  if (what == "words") return print_candidates(session);
  if (session.arguments.words.size() == 1)
    if (const auto script = completion_script(what)) {
      NANOBOX_TRY(print_text(*script));
      return 0;
    }
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "print a completion script",
               .subject = what,
               .reason = "there is none for it",
               .mend = "write bash, zsh or fish"});
}

}  // namespace

CommandSpec completion_command_spec() {
  return {
      .name = "completion",
      .usage = "bash | zsh | fish",
      .summary = "print what makes a shell complete nanobox' command lines",
      .lesson =
          "Prints a script by which the shell asks nanobox itself what may follow: commands, options, and the names\n"
          "of sandboxes, templates and nodes, as the server knows them. Debian's package has it installed.\n\n"
          "  source <(nanobox completion bash)\n"
          "  nanobox completion zsh > ~/.zfunc/_nanobox\n"
          "  nanobox completion fish > ~/.config/fish/completions/nanobox.fish",
      .options = with_server({}),
      .order = WordOrder::command_last,
      .least_words = 1,
      .run = run};
}

}  // namespace nanobox::cli
