#include "tools/nanobox-inspect/run_query.hpp"

#include <curl/curl.h>

#include <algorithm>

#include "config/clock.hpp"
#include "tools/nanobox-inspect/time_window.hpp"
#include "tools/nanobox/json.hpp"

namespace nanobox::inspection {
namespace {

using namespace cli;

constexpr std::string_view kRuns = "/api/v1/pipelines/runs";
constexpr std::size_t kPage = 1000;

void add(std::string& query, std::string_view name, const std::optional<std::string>& value) {
  if (value) query += "&" + std::string(name) + "=" + url_encode(*value);
}

/// @param filtered  also by what servers before `since` do not know
std::string query_text(const RunQuery& query, bool filtered) {
  const auto page = query.limit == 0 || !filtered ? kPage : std::min(kPage, query.limit);
  auto text = "?limit=" + std::to_string(page);
  add(text, "kind", query.kind);
  add(text, "status", query.status);
  if (!filtered) return text;
  add(text, "subject", query.subject);
  add(text, "node_id", query.node_id);
  if (query.since_us) add(text, "since", time_text(*query.since_us));
  if (query.newest_first) text += "&order=desc";
  if (query.every_owner) text += "&all=1";
  return text;
}

bool asks_more_than_older_servers_know(const RunQuery& query) {
  return query.subject || query.node_id || query.since_us || query.newest_first;
}

/// @param each  returns false where no more are wanted
Result<void> each_page_item(ApiClient& client, const std::string& path,
                            const std::function<bool(const rapidjson::Value&)>& each) {
  std::string cursor;
  for (;;) {
    const auto answer = NANOBOX_TRY(
        client.ask({.method = "GET", .path = path + (cursor.empty() ? "" : "&cursor=" + url_encode(cursor))}));
    const auto list = answer.json();
    const auto* items = json_member(list, "items");
    if (items == nullptr || !items->IsArray())
      return fail({.code = ErrorCode::io_failed,
                   .attempted = "list runs",
                   .subject = "",
                   .reason = "the server's answer is no list",
                   .mend = ""});
    for (const auto& item : items->GetArray())
      if (!each(item)) return {};
    auto next = json_text(list, "next_cursor");
    if (next.empty() || next == cursor) return {};
    cursor = std::move(next);
  }
}

/// All that an older server has, in the order and number that were asked for.
Result<void> each_run_of_older_server(ApiClient& client, const RunQuery& query,
                                      const std::function<void(const rapidjson::Value&, RunView)>& each) {
  std::vector<std::pair<RunView, rapidjson::Document>> kept;
  NANOBOX_TRY(each_page_item(client, std::string(kRuns) + query_text(query, false), [&](const auto& json) {
    auto run = read_run(json);
    if (!is_meant(run, query)) return true;
    kept.emplace_back(std::move(run), rapidjson::Document{});
    kept.back().second.CopyFrom(json, kept.back().second.GetAllocator());
    return true;
  }));
  if (query.newest_first)
    std::stable_sort(kept.begin(), kept.end(), [](const auto& left, const auto& right) {
      return left.first.created_us > right.first.created_us;
    });
  if (query.limit != 0 && kept.size() > query.limit)
    kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(query.limit), kept.end());
  for (auto& [run, json] : kept) each(json, std::move(run));
  return {};
}

std::string text_of(const rapidjson::Value& json) {
  rapidjson::StringBuffer buffer;
  JsonWriter writer(buffer);
  json.Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace

bool is_meant(const RunView& run, const RunQuery& query) {
  return (!query.kind || run.pipeline == *query.kind) && (!query.status || run.status == *query.status) &&
         (!query.subject || run.subject == *query.subject) && (!query.node_id || run.node_id == *query.node_id) &&
         // The server's times of creation are whole milliseconds.
         (!query.since_us || run.created_us >= *query.since_us / 1000 * 1000);
}

Result<void> each_run(ApiClient& client, const RunQuery& query,
                      const std::function<void(const rapidjson::Value&, RunView)>& each) {
  std::size_t given = 0;
  const auto done = each_page_item(client, std::string(kRuns) + query_text(query, true), [&](const auto& json) {
    auto run = read_run(json);
    if (!is_meant(run, query)) return true;
    each(json, std::move(run));
    return ++given != query.limit;
  });
  const bool unknown_filter = !done && done.error().code == ErrorCode::unknown_field && given == 0;
  if (unknown_filter && !query.every_owner && asks_more_than_older_servers_know(query))
    return each_run_of_older_server(client, query, each);
  return done;
}

Result<std::vector<RunView>> fetch_runs(ApiClient& client, const RunQuery& query) {
  std::vector<RunView> runs;
  NANOBOX_TRY(each_run(client, query, [&](const auto&, RunView run) { runs.push_back(std::move(run)); }));
  return runs;
}

Result<FoundRun> find_run(ApiClient& client, const std::string& name, bool every_owner) {
  if (name.starts_with("op-")) {
    auto answer = client.ask({.method = "GET", .path = std::string(kRuns) + "/" + url_encode(name)});
    if (answer) return FoundRun{.run = read_run(answer->json()), .json = answer->body};
    if (answer.error().code != ErrorCode::run_not_found) return fail(std::move(answer).error());
  }
  std::optional<FoundRun> found;
  RunQuery latest;
  latest.subject = name;
  latest.every_owner = every_owner;
  latest.newest_first = true;
  latest.limit = 1;
  NANOBOX_TRY(each_run(client, latest, [&](const rapidjson::Value& json, RunView run) {
    found = FoundRun{.run = std::move(run), .json = text_of(json)};
  }));
  if (found) return *std::move(found);
  return fail({.code = ErrorCode::run_not_found,
               .attempted = "find run",
               .subject = name,
               .reason = "no run is called so, nor did one make a sandbox or template of that name lately",
               .mend = "'nanobox-inspect runs' lists them; with --all those of every key, too"});
}

std::int64_t server_now_us(const ApiAnswer& answer) {
  const auto ours = precise_now().time_since_epoch().count();
  const auto theirs = curl_getdate(answer.header("date").c_str(), nullptr);
  // Whole seconds: what is within them is as good as the same.
  if (theirs < 0 || std::abs(theirs * std::int64_t{1'000'000} - ours) < 3'000'000) return ours;
  return theirs * std::int64_t{1'000'000};
}

Result<std::int64_t> ask_server_now_us(ApiClient& client) {
  return server_now_us(NANOBOX_TRY(client.send({.method = "GET", .path = "/healthz"})));
}

}  // namespace nanobox::inspection
