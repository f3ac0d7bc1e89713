#include "http/json/document.hpp"
#include "http/json/reader.hpp"
#include "http/json/text.hpp"
#include "http/json/writer.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "http/sse.hpp"

namespace nanobox::http {

namespace {

constexpr std::size_t kArgumentsMax = 4096;
constexpr std::size_t kVariablesMax = 1024;
constexpr std::int64_t kTimeoutMax = 7LL * 24 * 3600 * 1000;
constexpr std::int64_t kOutputMax = 64LL << 20;
constexpr std::chrono::seconds kGrace{30};

Result<ExecCommand> read_command(const Request& request) {
  if (request.accepts(event_stream_type))
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "run a command",
                 .subject = "",
                 .reason = "this version answers when the command has ended",
                 .mend = "leave Accept: text/event-stream out"});
  const auto document = NANOBOX_TRY(json::parse_body(request));
  json::Complaints complaints;
  json::ObjectReader body(document, complaints);
  ExecCommand command;
  command.command = body.required_text("command", {.min_bytes = 1});
  command.args = body.texts("args", kArgumentsMax).value_or(std::vector<std::string>());
  command.env = body.text_map("env", kVariablesMax).value_or(std::map<std::string, std::string>());
  command.cwd = body.text("cwd").value_or("");
  command.user = body.text("user").value_or("");
  command.stdin_bytes = body.text("stdin", {.min_bytes = 0, .max_bytes = 64U << 20, .allow_nul = true}).value_or("");
  command.timeout_ms = static_cast<std::uint64_t>(body.integer("timeout_ms", 0, kTimeoutMax).value_or(60'000));
  command.max_output_bytes =
      static_cast<std::uint64_t>(body.integer("max_output_bytes", 0, kOutputMax).value_or(16LL << 20));
  if (body.boolean("detached").value_or(false))
    complaints.invalid("/detached", "this version has no detached commands");
  for (const auto& [name, value] : command.env)
    if (name.empty() || name.find('=') != std::string::npos)
      complaints.invalid("/env", "names must not be empty or hold '='");
  body.finish();
  NANOBOX_TRY(complaints.result());
  return command;
}

std::string outcome_json(ExecOutcome& outcome) {
  const auto out = json::encode_bytes(std::move(outcome.stdout_bytes));
  const auto err = json::encode_bytes(std::move(outcome.stderr_bytes));
  json::Writer json;
  json.begin_object().field("exit_code", outcome.exit_code);
  if (outcome.signal != 0)
    json.field("signal", outcome.signal);
  else
    json.null_field("signal");
  json.field("stdout", out.text)
      .field("stderr", err.text)
      .field("stdout_encoding", out.encoding)
      .field("stderr_encoding", err.encoding)
      .field("timed_out", outcome.timed_out)
      .field("truncated", outcome.truncated)
      .field("duration_ms", outcome.duration_ms)
      .end_object();
  return json.take();
}

}  // namespace

void add_exec_route(Router& router, Api& api) {
  router.add(
      Method::post, "/api/v1/sandboxes/{id}/exec",
      api.idempotency->wrap(
          [&api](Request request, Responder responder) {
            const auto sandbox = sandbox_of(api, request);
            if (!sandbox) return responder.send_problem(sandbox.error());
            const auto& id = (*sandbox)->id;
            if ((*sandbox)->status != SandboxStatus::running)
              return responder.send_problem({.code = ErrorCode::sandbox_not_running,
                                             .attempted = "run a command in",
                                             .subject = id,
                                             .reason = "it is " + std::string(to_string((*sandbox)->status)) +
                                                       ((*sandbox)->reason.empty() ? "" : ": " + (*sandbox)->reason),
                                             .mend = "make another sandbox"});
            auto command = read_command(request);
            if (!command) return responder.send_problem(command.error());
            auto shared = std::make_shared<Responder>(std::move(responder));
            shared->on_disconnect([agent = api.node.node_agent, id, exec = request.request_id] {
              caf::anon_send(agent, cancel_atom_v, id, exec);
            });
            const auto deadline = command->timeout_ms == 0 ? std::chrono::milliseconds(kTimeoutMax)
                                                           : std::chrono::milliseconds(command->timeout_ms) + kGrace;
            ask_actor<ExecOutcome>(
                api, shared, deadline, "run a command in " + id, api.node.node_agent,
                [](Responder& to, ExecOutcome& outcome) { to.send(200, outcome_json(outcome)); }, exec_atom_v, id,
                request.request_id, std::move(*command));
          },
          {.keep_answer = std::chrono::minutes(10)}));
}

}  // namespace nanobox::http
