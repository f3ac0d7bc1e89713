#include "config/child_process.hpp"
#include "tools/nanobox/command.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/private_server.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

constexpr std::chrono::seconds kPatience{120};

std::string state_text(const rapidjson::Value& check) {
  if (json_flag(check, "ok")) return "ok";
  return json_flag(check, "needed") ? "MISSING" : "limited";
}

/// A table of what is checked, and below it what mends each shortcoming.
std::string report_text(const rapidjson::Value& report) {
  Table table({"CHECK", "STATE", "DETAIL"});
  std::string mends;
  if (const auto* checks = json_member(report, "checks"); checks != nullptr && checks->IsArray())
    for (const auto& check : checks->GetArray()) {
      table.add({json_text(check, "name"), state_text(check), json_text(check, "detail")});
      const auto mend = json_text(check, "mend");
      if (!json_flag(check, "ok") && !mend.empty())
        mends += "  " + printable(json_text(check, "name")) + ": " + printable(mend) + "\n";
    }
  return table.text() + (mends.empty() ? "" : "\nTo mend:\n" + mends) +
         (json_flag(report, "ok") ? "\nSandboxes can run on this host.\n"
                                  : "\nSandboxes cannot run on this host yet.\n");
}

Result<int> run(Session& session) {
  Command command{.program = NANOBOX_TRY(find_program("nanoboxd", session.environment)),
                  .arguments = {"--doctor", "--json"},
                  .env = std::nullopt,
                  .descriptors = {}};
  if (const auto file = session.arguments.value("config"))
    command.arguments.insert(command.arguments.begin(), {"--config", *file});
  const auto said = NANOBOX_TRY(run_command(command, kPatience));
  rapidjson::Document report;
  report.Parse(said.out.data(), said.out.size());
  if (report.HasParseError() || !report.IsObject())
    return fail({.code = ErrorCode::io_failed,
                 .attempted = "examine this host",
                 .subject = command.program,
                 .reason = said.err.empty() ? "it gave no report" : said.err,
                 .mend = ""});
  NANOBOX_TRY(session.json() ? print_json(said.out) : print_text(report_text(report)));
  return json_flag(report, "ok") ? 0 : 1;
}

}  // namespace

CommandSpec doctor_command_spec() {
  return {.name = "doctor",
          .usage = "",
          .summary = "say what this host can do and what is missing",
          .lesson =
              "Tries out on this host what sandboxes need (a VMM by booting a tiny guest, the kernel, limits, "
              "confinement),\n"
              "and names the mend for what is missing. Needs no server. Exit code 1 where sandboxes cannot run.\n\n"
              "  nanobox doctor",
          .options = {{"config", 0, "FILE", "examine for this nanobox.toml"},
                      {"json", 0, "", "print the report as JSON"},
                      {"help", 'h', "", "this text"}},
          .most_words = 0,
          .run = run};
}

}  // namespace nanobox::cli
