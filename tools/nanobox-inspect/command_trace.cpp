#include <fcntl.h>

#include "config/unique_fd.hpp"
#include "tools/nanobox-inspect/commands.hpp"
#include "tools/nanobox-inspect/run_options.hpp"
#include "tools/nanobox-inspect/trace.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/output.hpp"

namespace nanobox::inspection {
namespace {

Result<void> check_trace(const cli::Arguments& arguments) {
  if (!arguments.has("output"))
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "read command line",
                 .subject = "-o",
                 .reason = "it is missing",
                 .mend = "name a file, or - for stdout"});
  return check_moment(arguments, "since");
}

Result<void> write_file(const std::string& file, const std::string& text) {
  if (file == "-") return cli::print_json(text);
  UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) return fail(errno_error(errno, "write", file));
  return cli::write_all(fd.get(), text);
}

Result<int> write_trace(cli::Session& session) {
  const auto server = NANOBOX_TRY(session.server());
  cli::ApiClient client(server.address, &session.interruption);
  auto query = run_query_of(session.arguments);
  query.since_us =
      NANOBOX_TRY(moment_option(session.arguments, "since", "10m", NANOBOX_TRY(ask_server_now_us(client))));
  const auto runs = NANOBOX_TRY(fetch_runs(client, query));
  const auto file = session.arguments.value("output").value_or("-");
  NANOBOX_TRY(write_file(file, chrome_trace(runs)));
  if (session.json() && file != "-") {
    rapidjson::StringBuffer buffer;
    cli::JsonWriter json(buffer);
    json.StartObject();
    cli::json_put(json, "file", file);
    cli::json_put(json, "runs", static_cast<std::uint64_t>(runs.size()));
    json.EndObject();
    NANOBOX_TRY(cli::print_json({buffer.GetString(), buffer.GetSize()}));
  } else if (file != "-") {
    cli::tell(std::to_string(runs.size()) + (runs.size() == 1 ? " run" : " runs") + " in " + file +
              "; open it in https://ui.perfetto.dev or chrome://tracing");
  }
  return kFine;
}

}  // namespace

cli::CommandSpec trace_command_spec() {
  return {.name = "trace",
          .usage = "-o FILE",
          .summary = "write runs as a trace for Perfetto",
          .lesson =
              "Writes the runs created since then as a trace (JSON) for https://ui.perfetto.dev or chrome://tracing:\n"
              "a process for each node, threads for each pipeline, a slice for each run and stage.\n\n"
              "  nanobox-inspect trace --since 10m -o trace.json\n\n"
              "Exit codes: 0 fine, 1 the request or the file failed, 2 usage.",
          .options = with_run_options({{"since", 0, "TIME", "90s, 10m, 2h, 1d ago, or a time (10m)"},
                                       {"output", 'o', "FILE", "where to; - is stdout"}}),
          .most_words = 0,
          .check = check_trace,
          .run = write_trace};
}

}  // namespace nanobox::inspection
