#include "config/byte_size.hpp"
#include "tools/nanobox/command.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/lease.hpp"
#include "tools/nanobox/listing.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/process_follower.hpp"
#include "tools/nanobox/process_list.hpp"
#include "tools/nanobox/sandbox_calls.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::cli {
namespace {

/// "sh -c 'echo hi'": words that a shell would read again as they were.
std::string command_text(const rapidjson::Value& process) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";
  const auto* words = json_member(process, "command");
  std::string text;
  if (words == nullptr || !words->IsArray()) return text;
  for (const auto& word : words->GetArray()) {
    if (!word.IsString()) continue;
    const std::string_view raw(word.GetString(), word.GetStringLength());
    text += text.empty() ? "" : " ";
    if (!raw.empty() && raw.find_first_not_of(plain) == std::string_view::npos) {
      text += raw;
      continue;
    }
    text += '\'';
    for (const char c : raw) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    text += '\'';
  }
  return text;
}

std::string end_text(const rapidjson::Value& process) {
  if (json_flag(process, "timed_out")) return "timed out";
  if (const auto* signal = json_member(process, "signal"); signal != nullptr && signal->IsInt64())
    return "signal " + std::to_string(signal->GetInt64());
  const auto* code = json_member(process, "exit_code");
  return code != nullptr && code->IsInt64() ? std::to_string(code->GetInt64()) : "";
}

Table process_head() {
  return Table({"PROCESS", "PID", "STATE", "EXIT", "AGE", "OUTPUT", "KIND", "COMMAND"});
}

void add_process(Table& table, const rapidjson::Value& process) {
  const auto bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(0, json_number(process, "output_bytes")));
  table.add({json_text(process, "process_id"), std::to_string(json_number(process, "pid")), json_text(process, "state"),
             end_text(process), age_text(json_text(process, "started_at")), format_byte_size(bytes),
             json_flag(process, "terminal")   ? "terminal"
             : json_flag(process, "detached") ? "detached"
                                              : "attached",
             command_text(process)});
}

Result<int> kill(Session& session) {
  const auto& words = session.arguments.words;
  const auto signal = session.arguments.value("signal").value_or("TERM");
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  int code = 0;
  for (std::size_t at = 1; at < words.size(); ++at) {
    const auto sent =
        client.ask({.method = "DELETE", .path = process_path(words[0], words[at]) + "?signal=" + url_encode(signal)});
    if (sent) continue;
    if (sent.error().code == ErrorCode::cancelled) return fail(sent.error());
    tell("nanobox: " + printable(words[at]) + ": " + printable(describe(sent.error())));
    code = 1;
  }
  return code;
}

Result<int> attach(Session& session) {
  const auto& args = session.arguments;
  const auto since = NANOBOX_TRY(number_option(args, "since", 0, ~std::uint64_t{0})).value_or(0);
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  const auto path = process_path(args.words[0], args.words[1]);
  const auto from = path + "/output?since=";
  return follow(client, {.request = {.method = "GET",
                                     .path = from + std::to_string(since),
                                     .body = "",
                                     .patience = std::chrono::milliseconds{0},
                                     .accept = "text/event-stream"},
                         .sandbox_id = args.words[0],
                         .sends_stdin = args.has("stdin"),
                         .process_id = args.words[1],
                         .tick = lease_of(server.address, args.words[0]),
                         .tick_every = kLeaseTick,
                         .resume_path = from});
}

}  // namespace

std::optional<std::string> process_table(const rapidjson::Value& list) {
  auto table = process_head();
  if (const auto* items = json_member(list, "items"); items != nullptr && items->IsArray())
    for (const auto& process : items->GetArray()) add_process(table, process);
  return table.empty() ? std::nullopt : std::optional(table.text());
}

Result<int> list_processes(Session& session) {
  for (const char* filter : {"template", "status"})
    if (session.arguments.has(filter))
      return fail({.code = ErrorCode::invalid_value,
                   .attempted = "read command line",
                   .subject = std::string("--") + filter,
                   .reason = "it is for the list of sandboxes",
                   .mend = "leave it out, or the sandbox"});
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  const auto path = sandbox_path(session.arguments.words.front()) + "/processes";
  if (session.json()) {
    NANOBOX_TRY(print_json(NANOBOX_TRY(whole_list(client, path))));
    return 0;
  }
  auto table = process_head();
  NANOBOX_TRY(each_item(client, path, [&](const rapidjson::Value& process) { add_process(table, process); }));
  NANOBOX_TRY(print_text(table.text()));
  return 0;
}

CommandSpec kill_command_spec() {
  return {
      .name = "kill",
      .usage = "SANDBOX PROCESS…",
      .summary = "send a signal to processes in a sandbox",
      .lesson =
          "Sends SIGTERM, or the signal named, to commands started in a sandbox ('nanobox ps SANDBOX' lists them).\n"
          "One that has ended is forgotten, with its output.\n\n"
          "  nanobox kill sb-01jq… pr-01jq…\n"
          "  nanobox kill --signal KILL sb-01jq… pr-01jq…",
      .options = with_server({{"signal", 0, "SIGNAL", "a name, with SIG or without, or a number (TERM)"}}),
      .least_words = 2,
      .run = kill};
}

CommandSpec attach_command_spec() {
  return {
      .name = "attach",
      .usage = "SANDBOX PROCESS",
      .summary = "follow the output of a process in a sandbox",
      .lesson =
          "Shows what a command wrote (the last MiB is kept) and goes on with what it writes, to stdout and stderr;\n"
          "exits with its exit code when it ends. Ctrl-C leaves it running. A connection that breaks is made again\n"
          "where it was.\n\n"
          "  PR=$(nanobox exec -d sb-01jq… ./build.sh)\n"
          "  nanobox attach sb-01jq… $PR\n"
          "  echo yes | nanobox attach -i sb-01jq… $PR     for one started with 'exec -d -i'",
      .options = with_server(
          {{"since", 0, "OFFSET", "only output behind this many bytes"}, {"stdin", 'i', "", "send our stdin to it"}}),
      .least_words = 2,
      .most_words = 2,
      .failure_code = kOwnFailure,
      .run = attach};
}

}  // namespace nanobox::cli
