#include "tools/nanobox-inspect/actor_view.hpp"
#include "tools/nanobox-inspect/commands.hpp"
#include "tools/nanobox-inspect/paper.hpp"
#include "tools/nanobox/listing.hpp"
#include "tools/nanobox/output.hpp"

namespace nanobox::inspection {
namespace {

Result<int> show_actors(cli::Session& session) {
  const auto server = NANOBOX_TRY(session.server());
  cli::ApiClient client(server.address, &session.interruption);
  const auto actors = NANOBOX_TRY(fetch_actors(client));
  if (session.json()) {
    NANOBOX_TRY(cli::print_json(NANOBOX_TRY(cli::whole_list(client, "/api/v1/actors"))));
    return kFine;
  }
  const auto paper = paper_of(session);
  NANOBOX_TRY(cli::print_text(joined(actor_tree(paper.style, actors, paper.columns))));
  return kFine;
}

}  // namespace

cli::CommandSpec actors_command_spec() {
  return {.name = "actors",
          .usage = "",
          .summary = "show supervised actors: what waits, what died",
          .lesson =
              "Shows the actors by who holds whom: messages that wait, how long the last one measured waited, how\n"
              "many were handled, restarts and why. Kinds of which there are many are one line with their count.\n"
              "For the admin's key.\n\n"
              "  nanobox-inspect actors\n\n"
              "Exit codes: 0 fine, 1 the request failed (an older server has none to show), 2 usage.",
          .options = cli::with_common({}),
          .most_words = 0,
          .run = show_actors};
}

}  // namespace nanobox::inspection
