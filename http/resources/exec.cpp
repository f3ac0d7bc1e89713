#include "actors/exec_collector.hpp"
#include "actors/stdin_feed.hpp"
#include "config/id.hpp"
#include "config/utf8.hpp"
#include "http/audit.hpp"
#include "http/json/document.hpp"
#include "http/json/reader.hpp"
#include "http/json/writer.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "http/resources/outcome_answer.hpp"
#include "http/resources/output_events.hpp"
#include "http/sse.hpp"

namespace nanobox::http {

namespace {

constexpr std::size_t kArgumentsMax = 4096;
constexpr std::size_t kVariablesMax = 1024;
constexpr std::int64_t kTimeoutMax = 7LL * 24 * 3600 * 1000;
constexpr std::int64_t kOutputMax = 64LL << 20;
constexpr std::int64_t kBufferedTimeout = 60'000;
constexpr std::chrono::seconds kLongest{8 * 86'400};

/// How a command is answered.
enum class Way : std::uint8_t { buffered, streamed, detached };

struct AskedCommand {
  ExecCommand command;
  Way way = Way::buffered;
};

Result<AskedCommand> read_command(const Request& request) {
  const auto document = NANOBOX_TRY(json::parse_body(request));
  json::Complaints complaints;
  json::ObjectReader body(document, complaints);
  AskedCommand asked;
  auto& exec = asked.command.request;
  exec.argv = {body.required_text("command", {.min_bytes = 1})};
  const auto args = body.texts("args", kArgumentsMax).value_or(std::vector<std::string>());
  exec.argv.insert(exec.argv.end(), args.begin(), args.end());
  for (const auto& [name, value] : body.text_map("env", kVariablesMax).value_or(std::map<std::string, std::string>())) {
    if (name.empty() || name.find('=') != std::string::npos)
      complaints.invalid("/env", "names must not be empty or hold '='");
    exec.env.push_back(name + "=" + value);
  }
  exec.cwd = body.text("cwd").value_or("");
  exec.user = body.text("user").value_or("");
  exec.process_id = make_id("pr");
  exec.detached = body.boolean("detached").value_or(false);
  if (request.accepts(event_stream_type)) asked.way = Way::streamed;
  if (exec.detached) asked.way = Way::detached;
  const auto timeout = body.integer("timeout_ms", 0, kTimeoutMax);
  exec.deadline_ms = static_cast<std::uint64_t>(timeout.value_or(asked.way == Way::buffered ? kBufferedTimeout : 0));
  asked.command.stdin_bytes = body.text("stdin", {.min_bytes = 0, .max_bytes = 64U << 20, .allow_nul = true});
  asked.command.max_output_bytes =
      static_cast<std::uint64_t>(body.integer("max_output_bytes", 0, kOutputMax).value_or(16LL << 20));
  body.finish();
  NANOBOX_TRY(complaints.result());
  return asked;
}

/// `started`, output as it comes, `exit`.
class StreamedExec final : public EventAnswer {
public:
  StreamedExec(Responder responder, ExecCommand command)
      : EventAnswer(std::move(responder)),
        process_id_(command.request.process_id),
        stdin_(std::move(command.stdin_bytes)) {}

  void on_stream() override { stdin_.feed(guest(), 0); }
  void on_window(const StdinWindow& window) override { stdin_.feed(guest(), window.queued); }
  void on_opened(const Opened& opened) override {
    started_ = std::chrono::steady_clock::now();
    json::Writer json;
    json.begin_object().field("process_id", process_id_).field("pid", opened.pid).end_object();
    emit(server_sent_event("started", json.take()));
  }
  void on_data(StreamData& data) override {
    // A character that is cut between two pieces goes out with the later one.
    auto& cut = cut_[data.part == StreamPart::stderr_part ? 1 : 0];
    const auto credit = data.bytes.size();
    std::string bytes = std::exchange(cut, {});
    bytes += data.text();
    if (!data.last) {
      cut = bytes.substr(utf8_before_cut(bytes));
      bytes.resize(bytes.size() - cut.size());
    }
    if (bytes.empty())
      grant(credit);
    else
      emit(output_event(to_string(data.part), bytes), credit);
  }
  void on_exit(const StreamExit& exit) override {
    const auto duration = std::chrono::steady_clock::now() - started_;
    emit(exit_event(command_end(exit.exit_code, exit.signal, exit.timed_out),
                    std::chrono::duration_cast<std::chrono::milliseconds>(duration).count()));
    end();
  }

private:
  const std::string process_id_;
  StdinFeed stdin_;
  std::chrono::steady_clock::time_point started_;
  std::string cut_[2];
};

/// Answers once the command runs, and leaves it.
class DetachedExec final : public OneAnswer {
public:
  DetachedExec(Responder responder, ExecCommand command)
      : OneAnswer(std::move(responder)),
        process_id_(command.request.process_id),
        stdin_(std::move(command.stdin_bytes)) {}

  void on_opened(const Opened& opened) override {
    if (feed_) return;
    pid_ = opened.pid;
    if (!stdin_) return answer();
    // The command's own stream is over: its stdin has another.
    feed_.emplace(std::move(stdin_));
    reopen(InputRequest{.process_id = process_id_, .eof = true});
  }
  void on_stream() override {
    if (!feed_) return;
    feed_->feed(guest(), 0);
    answer();
  }
  void on_window(const StdinWindow& window) override {
    if (feed_) feed_->feed(guest(), window.queued);
  }
  void on_exit(const StreamExit&) override { quit(); }
  void on_failed(const Error& error) override {
    // Once it runs, a stdin that it does not read is its own affair.
    if (responder().answered()) return quit();
    OneAnswer::on_failed(error);
  }

private:
  void answer() {
    json::Writer json;
    json.begin_object().field("process_id", process_id_).field("pid", pid_).end_object();
    responder().send(202, json.take());
    if (!feed_) quit();
  }

  const std::string process_id_;
  std::optional<std::string> stdin_;
  std::optional<StdinFeed> feed_;
  std::uint32_t pid_ = 0;
};

void run_buffered(Api& api, const Request& request, Responder responder, const std::string& sandbox_id,
                  ExecCommand command) {
  const auto collector = api.system.spawn(exec_collector, api.spools, api.guests(), sandbox_id, std::move(command));
  auto shared = std::make_shared<Responder>(std::move(responder));
  shared->on_disconnect([who = collector.address()] {
    if (const auto there = caf::actor_cast<caf::actor>(who))
      caf::anon_send_exit(there, caf::exit_reason::user_shutdown);
  });
  const bool kept = request.header("idempotency-key").has_value();
  ask_actor<ExecOutcome>(
      api, shared, kLongest, "run a command in " + sandbox_id, collector,
      [&api, kept](Responder& to, ExecOutcome& outcome) { send_outcome(api, std::move(to), std::move(outcome), kept); },
      exec_atom_v);
}

void run(Api& api, const Request& request, Responder responder) {
  const auto sandbox = running_sandbox_of(api, request);
  if (!sandbox) return responder.send_problem(sandbox.error());
  const auto& id = (*sandbox)->id;
  auto asked = read_command(request);
  if (!asked) return responder.send_problem(asked.error());
  auto& command = asked->command;
  note_command(responder, command.request.argv);
  if (asked->way == Way::buffered) return run_buffered(api, request, std::move(responder), id, std::move(command));
  StreamRequest wanted = command.request;
  std::unique_ptr<GuestClient> client;
  if (asked->way == Way::streamed)
    client = std::make_unique<StreamedExec>(std::move(responder), std::move(command));
  else
    client = std::make_unique<DetachedExec>(std::move(responder), std::move(command));
  start_guest_client(api, id, std::move(wanted), std::move(client));
}

}  // namespace

void add_exec_route(Router& router, Api& api) {
  router.add(Method::post, "/api/v1/sandboxes/{id}/exec",
             api.idempotency->wrap(
                 [&api](const Request& request, Responder responder) { run(api, request, std::move(responder)); },
                 {.keep_answer = std::chrono::minutes(10)}));
}

}  // namespace nanobox::http
