#include <algorithm>

#include "tools/nanobox-inspect/commands.hpp"
#include "tools/nanobox-inspect/paper.hpp"
#include "tools/nanobox-inspect/run_feed.hpp"
#include "tools/nanobox-inspect/run_list.hpp"
#include "tools/nanobox-inspect/run_options.hpp"
#include "tools/nanobox-inspect/waterfall.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/output.hpp"

namespace nanobox::inspection {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMostRuns = 100'000, kUsualRuns = 50;
constexpr std::int64_t kWatchedSpan = 600'000'000;  // ten minutes

Result<RunQuery> query_of(cli::ApiClient& client, const cli::Arguments& arguments) {
  auto query = run_query_of(arguments);
  query.status = arguments.value("status");
  query.subject = arguments.value("subject");
  query.newest_first = true;
  query.limit = NANOBOX_TRY(cli::number_option(arguments, "limit", 1, kMostRuns)).value_or(kUsualRuns);
  if (arguments.has("since"))
    query.since_us = NANOBOX_TRY(moment_option(arguments, "since", "", NANOBOX_TRY(ask_server_now_us(client))));
  return query;
}

Result<void> check_runs(const cli::Arguments& arguments) {
  NANOBOX_TRY(cli::number_option(arguments, "limit", 1, kMostRuns));
  return check_moment(arguments, "since");
}

std::string text_of(const rapidjson::Value& json) {
  rapidjson::StringBuffer buffer;
  cli::JsonWriter writer(buffer);
  json.Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}

/// The list again and again on a terminal; else a line for each step of each run.
Result<int> watch_runs(cli::Session& session, cli::ApiClient& client, const RunQuery& query) {
  const auto paper = paper_of(session);
  const bool on_screen = paper.is_terminal && !session.json();
  auto now = NANOBOX_TRY(ask_server_now_us(client));
  RunFeed feed(query, query.since_us ? std::max<std::int64_t>(1, now - *query.since_us) : kWatchedSpan);
  if (on_screen) NANOBOX_TRY(cli::print_text("\x1b[2J"));
  for (;;) {
    Result<void> written;
    NANOBOX_TRY(feed.refresh(client, now, [&](const rapidjson::Value& json, const RunView& run) {
      if (on_screen || !written || !is_meant(run, query)) return;
      if (session.json()) {
        written = cli::print_json(text_of(json));
        return;
      }
      const auto* stage = telling_stage(run);
      written = cli::print_text(run.id + "  " + run.pipeline + "  " + run.subject + "  " + run.status +
                                (stage != nullptr ? "  " + where_text(run) : "") +
                                (run.ended() ? "  " + span_text(run.duration_us) : "") + "\n");
    }));
    NANOBOX_TRY(std::move(written));
    if (on_screen) {
      auto runs = feed.runs();
      std::erase_if(runs, [&](const RunView& run) { return !is_meant(run, query); });
      const auto fresh = paper_of(session);  // it may have another size by now
      const auto room = std::max<std::size_t>(2, fresh.rows - 1);
      const auto found = runs.size();
      if (runs.size() > std::min<std::size_t>(query.limit, room - 1))
        runs.resize(std::min<std::size_t>(query.limit, room - 1));
      auto lines = run_list(runs, now, ~std::size_t{0}).lines(fresh.style, fresh.columns);
      lines.push_back(
          painted(fresh.style, ink::dim,
                  fitted(fresh.style,
                         runs.empty() ? "no runs yet; ^C ends"
                                      : std::to_string(runs.size()) + " of " + std::to_string(found) + "; ^C ends",
                         fresh.columns)));
      NANOBOX_TRY(cli::print_text(screenful(lines)));
    }
    NANOBOX_TRY(wait_for(client, 1s));
    now += 1'000'000;
    if (const auto asked = ask_server_now_us(client)) now = *asked;
  }
}

Result<int> show_runs(cli::Session& session) {
  const auto server = NANOBOX_TRY(session.server());
  cli::ApiClient client(server.address, &session.interruption);
  const auto query = NANOBOX_TRY(query_of(client, session.arguments));
  if (session.arguments.has("watch")) return watch_runs(session, client, query);
  if (session.json()) {
    rapidjson::StringBuffer buffer;
    cli::JsonWriter json(buffer);
    json.StartObject();
    cli::json_key(json, "items");
    json.StartArray();
    NANOBOX_TRY(each_run(client, query, [&](const rapidjson::Value& run, const RunView&) { run.Accept(json); }));
    json.EndArray();
    cli::json_key(json, "next_cursor");
    json.Null();
    json.EndObject();
    NANOBOX_TRY(cli::print_json({buffer.GetString(), buffer.GetSize()}));
    return kFine;
  }
  const auto runs = NANOBOX_TRY(fetch_runs(client, query));
  const auto paper = paper_of(session);
  NANOBOX_TRY(cli::print_text(run_list(runs, NANOBOX_TRY(ask_server_now_us(client))).text(paper.style, paper.columns)));
  if (runs.empty()) cli::tell("no such runs");
  return kFine;
}

Result<int> show_run(cli::Session& session) {
  const auto server = NANOBOX_TRY(session.server());
  cli::ApiClient client(server.address, &session.interruption);
  const auto& name = session.arguments.words[0];
  auto found = NANOBOX_TRY(find_run(client, name, session.arguments.has("all")));
  const bool watched = session.arguments.has("watch");
  bool cleared = false;
  for (;;) {
    const auto paper = paper_of(session);
    const bool on_screen = watched && paper.is_terminal && !session.json();
    const bool last = !watched || found.run.ended();
    if (on_screen || last) {
      const auto now = NANOBOX_TRY(ask_server_now_us(client));
      const auto lines = waterfall(paper.style, found.run, paper.picture_columns(), now);
      if (session.json()) {
        NANOBOX_TRY(cli::print_json(found.json));
      } else if (on_screen) {
        auto shown = lines;
        if (shown.size() + 1 > paper.rows && !last) shown.resize(std::max<std::size_t>(1, paper.rows - 1));
        NANOBOX_TRY(cli::print_text((cleared ? "" : "\x1b[2J") + screenful(shown) + (last ? "\r\n" : "")));
        cleared = true;
      } else {
        NANOBOX_TRY(cli::print_text(joined(lines)));
      }
    }
    if (last) return found.run.status == "failed" || found.run.status == "cancelled" ? kFailed : kFine;
    NANOBOX_TRY(wait_for(client, 300ms));
    found = NANOBOX_TRY(find_run(client, found.run.id, session.arguments.has("all")));
  }
}

}  // namespace

cli::CommandSpec runs_command_spec() {
  return {.name = "runs",
          .usage = "",
          .summary = "list runs, the newest first",
          .lesson =
              "Lists what the pipelines did: warmups, boots, pauses, forks. Times are as 90s, 10m, 2h, 1d ago, or\n"
              "2026-11-27T23:05:00Z.\n\n"
              "  nanobox-inspect runs\n"
              "  nanobox-inspect runs --status failed --since 1h\n"
              "  nanobox-inspect runs --subject sb-123\n"
              "  nanobox-inspect runs --watch            the list, live; not on a terminal: a line for each step\n\n"
              "Exit codes: 0 fine (also where there are none), 1 the request failed, 2 usage.",
          .options = with_run_options({{"status", 0, "STATUS", "queued, running, succeeded, failed or cancelled"},
                                       {"subject", 0, "NAME", "of one sandbox or template"},
                                       {"since", 0, "TIME", "created since then"},
                                       {"limit", 'l', "COUNT", "at most so many (50)"},
                                       {"watch", 'w', "", "go on showing what happens"}}),
          .most_words = 0,
          .check = check_runs,
          .run = show_runs};
}

cli::CommandSpec run_command_spec() {
  return {.name = "run",
          .usage = "ID",
          .summary = "show a run's stages on one scale, and why it failed",
          .lesson =
              "Shows a run's stages with bars on one scale, tries, node, actor, bytes, and why it failed. ID is a\n"
              "run's, or a sandbox or template, whose latest run is shown.\n\n"
              "  nanobox-inspect run op-019ac7\n"
              "  nanobox-inspect run --watch python3     until it ended\n\n"
              "Exit codes: 0 it succeeded or goes on, 1 it failed or was cancelled, or the request failed, 2 usage.",
          .options = cli::with_common(
              {{"watch", 'w', "", "until it ended"}, {"all", 'a', "", "also other keys' runs; for the admin's key"}}),
          .least_words = 1,
          .most_words = 1,
          .run = show_run};
}

}  // namespace nanobox::inspection
