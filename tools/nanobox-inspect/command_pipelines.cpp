#include "tools/nanobox-inspect/commands.hpp"
#include "tools/nanobox-inspect/paper.hpp"
#include "tools/nanobox-inspect/pipeline_picture.hpp"
#include "tools/nanobox/listing.hpp"
#include "tools/nanobox/output.hpp"

namespace nanobox::inspection {
namespace {

Result<void> check_one_form(const cli::Arguments& arguments) {
  const int forms = arguments.has("graphviz") + arguments.has("mermaid") + arguments.has("json");
  if (forms <= 1) return {};
  return fail({.code = ErrorCode::invalid_value,
               .attempted = "read command line",
               .subject = "",
               .reason = "--graphviz, --mermaid and --json exclude each other",
               .mend = ""});
}

Result<int> show_pipelines(cli::Session& session) {
  const auto server = NANOBOX_TRY(session.server());
  cli::ApiClient client(server.address, &session.interruption);
  if (session.json()) {
    NANOBOX_TRY(cli::print_json(NANOBOX_TRY(cli::whole_list(client, "/api/v1/pipelines"))));
    return kFine;
  }
  std::vector<PipelineDefinition> pipelines;
  NANOBOX_TRY(
      cli::each_item(client, "/api/v1/pipelines", [&](const auto& json) { pipelines.push_back(read_pipeline(json)); }));
  const auto paper = paper_of(session);
  NANOBOX_TRY(cli::print_text(session.arguments.has("graphviz") ? graphviz_picture(pipelines)
                              : session.arguments.has("mermaid")
                                  ? mermaid_picture(pipelines)
                                  : terminal_picture(paper.style, pipelines, paper.picture_columns())));
  return kFine;
}

}  // namespace

cli::CommandSpec pipelines_command_spec() {
  return {.name = "pipelines",
          .usage = "",
          .summary = "draw what runs are made of",
          .lesson =
              "Draws the pipelines' stages with their actors, deadlines, retries and what undoes them.\n\n"
              "  nanobox-inspect pipelines\n"
              "  nanobox-inspect pipelines --graphviz | dot -Tsvg > pipelines.svg\n"
              "  nanobox-inspect pipelines --mermaid",
          .options = cli::with_common(
              {{"graphviz", 0, "", "as a graph for dot"}, {"mermaid", 0, "", "as a flowchart for Markdown"}}),
          .most_words = 0,
          .check = check_one_form,
          .run = show_pipelines};
}

}  // namespace nanobox::inspection
