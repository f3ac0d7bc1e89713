#include "config/id.hpp"
#include "tools/nanobox/command.hpp"
#include "tools/nanobox/exec_call.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/sandbox_calls.hpp"
#include "tools/nanobox/template_name.hpp"
#include "tools/nanobox/warm_up.hpp"

namespace nanobox::cli {
namespace {

using namespace std::chrono_literals;

/// A sandbox whose client dies without a word lives no longer than this.
constexpr std::uint64_t kLeaseSec = 300;
/// One that is left with a command in it.
constexpr std::uint64_t kDetachedSec = 86'400;
constexpr std::string_view kRunMark = "nanobox-run";

/// Ends this run's sandbox, also one whose creation was interrupted before its id was known.
class RunSandbox {
public:
  RunSandbox(const ServerAddress& server, Interruption& interruption) : server_(server), interruption_(interruption) {}
  RunSandbox(const RunSandbox&) = delete;
  RunSandbox& operator=(const RunSandbox&) = delete;
  ~RunSandbox() {
    if (!asked_ || kept_) return;
    interruption_.forget();
    ApiClient client(server_, &interruption_);
    for (const auto& id : id_.empty() ? find(client) : std::vector{id_})
      if (auto removed = remove_sandbox(client, id); !removed)
        tell("nanobox: " + id + " is left: " + describe(removed.error()) + "; end it with 'nanobox rm " + id + "'");
  }

  Result<void> create(ApiClient& client, CreateCall call) {
    call.metadata[std::string(kRunMark)] = mark_;
    asked_ = true;
    const auto created = create_sandbox(client, call);
    if (!created) {
      // A refusal made nothing; only a lost answer leaves doubt.
      asked_ = created.error().code == ErrorCode::cancelled || created.error().transient;
      return fail(created.error());
    }
    id_ = json_text(created->json(), "id");
    return {};
  }

  const std::string& id() const { return id_; }
  void keep() { kept_ = true; }

private:
  std::vector<std::string> find(ApiClient& client) const {
    const auto answer = client.ask(
        {.method = "GET", .path = "/api/v1/sandboxes?limit=1000&metadata." + std::string(kRunMark) + "=" + mark_});
    std::vector<std::string> ids;
    if (!answer) return ids;
    const auto list = answer->json();
    const auto* items = json_member(list, "items");
    if (items == nullptr || !items->IsArray()) return ids;
    for (const auto& sandbox : items->GetArray()) {
      const auto* metadata = json_member(sandbox, "metadata");
      if (metadata != nullptr && json_text(*metadata, kRunMark) == mark_) ids.push_back(json_text(sandbox, "id"));
    }
    return ids;
  }

  ServerAddress server_;
  Interruption& interruption_;
  const std::string mark_ = make_id("run");
  std::string id_;
  bool asked_ = false;
  bool kept_ = false;
};

/// The template of that name, if it is ready.
Result<std::optional<rapidjson::Document>> ready_template(ApiClient& client, const std::string& name) {
  const ApiRequest request{.method = "GET", .path = "/api/v1/templates/" + url_encode(name)};
  const auto answer = NANOBOX_TRY(client.send(request));
  if (answer.status < 200 || answer.status > 299) {
    // A name that no template can have is refused, which means the same.
    if (answer.status == 404 || answer.status == 400 || answer.status == 422) return std::nullopt;
    return fail(error_of(answer, request));
  }
  return answer.json();
}

/// The template to run: one of that very name, one made from that image before, or a new one.
Result<rapidjson::Document> template_for(ApiClient& client, Session& session, const std::string& image) {
  const bool fresh = session.arguments.has("pull");
  const bool may_be_name = image.find_first_of(":/@") == std::string::npos;
  if (may_be_name && !fresh)
    if (auto known = NANOBOX_TRY(ready_template(client, image)); known && json_text(*known, "status") == "ready")
      return std::move(*known);
  auto name = template_name_for(image);
  if (auto known = NANOBOX_TRY(ready_template(client, name))) {
    // The server calls an image it brings along by its folder.
    const auto made_from = json_text(*known, "image");
    const bool same = made_from == image || (made_from.starts_with("oci:") && made_from.ends_with("/" + image));
    if (same && !fresh && json_text(*known, "status") == "ready") return std::move(*known);
    if (!same) name = second_template_name_for(image);
  }
  const auto made = NANOBOX_TRY(warm_up(client, {.image = image,
                                                 .name = name,
                                                 .vcpu = {},
                                                 .memory_mb = {},
                                                 .disk_mb = {},
                                                 .platform = "",
                                                 .username = "",
                                                 .password = "",
                                                 .quiet = session.json()}));
  rapidjson::Document document;
  document.Parse(made.data(), made.size());
  return document;
}

/// What the image itself would run: entrypoint and cmd.
std::vector<std::string> image_command(const rapidjson::Value& entry) {
  std::vector<std::string> command;
  const auto* config = json_member(entry, "config");
  if (config == nullptr) return command;
  for (const char* part : {"entrypoint", "cmd"})
    if (const auto* words = json_member(*config, part); words != nullptr && words->IsArray())
      for (const auto& word : words->GetArray())
        if (word.IsString()) command.emplace_back(word.GetString(), word.GetStringLength());
  return command;
}

Result<void> print_detached(const Session& session, const std::string& sandbox_id, const std::string& process_id) {
  if (session.json())
    return print_json("{\"sandbox_id\": \"" + sandbox_id + "\", \"process_id\": \"" + process_id + "\"}");
  tell("nanobox: 'nanobox attach " + sandbox_id + " " + process_id + "' shows its output, 'nanobox rm " + sandbox_id +
       "' ends it; else it ends in a day");
  return print_text(sandbox_id + " " + process_id + "\n");
}

Result<int> run(Session& session) {
  const auto& args = session.arguments;
  const auto& image = args.words.front();
  auto call = NANOBOX_TRY(read_exec_call(session));
  const bool detach = args.has("detach");
  CreateCall create{.template_name = "",
                    .sizes = NANOBOX_TRY(read_sizes(args)),
                    .env = call.env,
                    .metadata = {},
                    .timeout_sec = detach ? kDetachedSec : kLeaseSec,
                    .network_mode = args.value("network").value_or("")};

  const auto server = NANOBOX_TRY(session.server(true));
  ApiClient client(server.address, &session.interruption);
  const auto entry = NANOBOX_TRY(template_for(client, session, image));
  create.template_name = json_text(entry, "name");
  std::vector<std::string> command(args.words.begin() + 1, args.words.end());
  if (command.empty()) command = image_command(entry);
  if (command.empty())
    return fail({.code = ErrorCode::command_invalid,
                 .attempted = "run",
                 .subject = image,
                 .reason = "the image names no command",
                 .mend = "write one behind it: nanobox run " + image + " -- COMMAND"});

  RunSandbox sandbox(server.address, session.interruption);
  NANOBOX_TRY(sandbox.create(client, create));
  call.sandbox_id = sandbox.id();
  call.command = std::move(command);
  if (detach) {
    const auto started = NANOBOX_TRY(exec_detached(client, call));
    sandbox.keep();
    NANOBOX_TRY(print_detached(session, sandbox.id(), json_text(started.json(), "process_id")));
    return 0;
  }
  ApiClient keeper(server.address, nullptr);
  call.tick_every = std::chrono::seconds{kLeaseSec / 3};
  call.tick = [&] {
    (void)keeper.send({.method = "POST",
                       .path = sandbox_path(sandbox.id()) + "/keepalive",
                       .body = "{\"timeout_sec\":" + std::to_string(kLeaseSec) + "}",
                       .patience = 3s});
  };
  const auto code = NANOBOX_TRY(args.has("tty")  ? exec_in_terminal(server.address, session.interruption, call)
                                : session.json() ? exec_as_json(client, call)
                                                 : exec_streamed(client, call));
  if (args.has("keep")) {
    sandbox.keep();
    tell("nanobox: " + sandbox.id() + " lives on for " + std::to_string(kLeaseSec) + " s; 'nanobox exec " +
         sandbox.id() + " -- COMMAND' runs more in it, 'nanobox rm " + sandbox.id() + "' ends it");
  }
  return code;
}

}  // namespace

CommandSpec run_command_spec() {
  auto options = size_options();
  for (const auto& option : exec_options()) options.push_back(option);
  options.insert(options.end(), {{"network", 0, "MODE", "isolated, internal or internet"},
                                 {"pull", 0, "", "ask the registry whether the image has changed"},
                                 {"keep", 0, "", "leave the sandbox running, and say its id"}});
  return {.name = "run",
          .usage = "IMAGE [--] [COMMAND [ARG…]]",
          .summary = "run a command in a new sandbox made from an image",
          .lesson =
              "Pulls the image and makes a template of it the first time (with progress), boots a microVM from it,\n"
              "runs the command in it, passes its output on as it comes, ends the VM, and exits with the command's\n"
              "exit code.\n"
              "Where no server answers, it starts one for itself and stops it afterwards; what it pulled stays.\n"
              "Without a command the image's own is run. Options come before the image.\n\n"
              "  nanobox run busybox -- echo hello\n"
              "  nanobox run --memory 1G --env LEVEL=3 node:22-alpine node -e 'console.log(process.env.LEVEL)'\n"
              "  nanobox run oci:/images/app:1 -- /app --check\n"
              "  tar c . | nanobox run -i busybox -- wc -c\n"
              "  nanobox run -it busybox                       a shell in a terminal (see nanobox shell --help)\n"
              "  nanobox run -d busybox -- httpd -f            left running: prints the ids of sandbox and process\n\n"
              "Exit codes: the command's own; 124 its deadline ended it; 125 nanobox failed; 130 Ctrl-C.",
          .options = with_common(std::move(options)),
          .order = WordOrder::command_last,
          .least_words = 1,
          .failure_code = kOwnFailure,
          .run = run};
}

}  // namespace nanobox::cli
