#include <array>

#include "config/whole_number.hpp"
#include "http/json/writer.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "http/resources/guest_upload.hpp"
#include "http/resources/output_events.hpp"
#include "http/sse.hpp"
#include "pipeline/boot/channel/records.hpp"

namespace nanobox::http {

namespace {

/// No guest knows more commands; one that says so lies.
constexpr std::size_t kProcessesMax = 4096;
constexpr std::string_view kProcesses = "/api/v1/sandboxes/{id}/processes";
constexpr std::string_view kProcess = "/api/v1/sandboxes/{id}/processes/{process_id}";

std::string to_json(const ProcessRecord& process) {
  json::Writer json;
  json.begin_object().field("process_id", process.process_id).field("pid", process.pid).key("command").begin_array();
  for (const auto& argument : process.argv) json.value(argument);
  json.end_array().field("state", process.ended ? "exited" : "running");
  if (process.ended) {
    write_end(json, command_end(process.exit_code, process.signal, process.timed_out));
  } else {
    json.null_field("exit_code").null_field("signal").field("timed_out", false);
  }
  json.field("detached", process.detached)
      .field("terminal", process.terminal)
      .field("started_at", to_rfc3339(WallTime(std::chrono::milliseconds(process.started_ns / 1'000'000))))
      .field("output_bytes", process.output_bytes)
      .end_object();
  return json.take();
}

Error no_such_process(const std::string& process_id) {
  return {.code = ErrorCode::process_not_found,
          .attempted = "find process",
          .subject = process_id,
          .reason = "the sandbox knows none of that id",
          .mend = "GET …/processes lists them"};
}

/// Reads the guest's list, then gives it to `done`.
class ProcessList final : public OneAnswer {
public:
  using Done = std::function<void(Responder&, std::vector<ProcessRecord>&)>;
  ProcessList(Responder responder, Done done) : OneAnswer(std::move(responder)), done_(std::move(done)) {}

  void on_data(StreamData& data) override {
    reader_.feed(data.bytes);
    grant(data.bytes.size());
    for (;;) {
      const auto record = reader_.next();
      if (!record) return on_failed(record.error());
      if (!*record) return;
      auto process = read_process(**record);
      if (!process) return on_failed(process.error());
      if (process->process_id.empty()) continue;
      if (processes_.size() == kProcessesMax)
        return on_failed({.code = ErrorCode::guest_protocol,
                          .attempted = "list processes",
                          .subject = "",
                          .reason = "the guest names more processes than it may",
                          .mend = ""});
      processes_.push_back(std::move(*process));
    }
  }
  void on_exit(const StreamExit&) override {
    if (const auto whole = reader_.finish(); !whole) return on_failed(whole.error());
    std::sort(processes_.begin(), processes_.end(),
              [](const auto& a, const auto& b) { return a.process_id < b.process_id; });
    done_(responder(), processes_);
    quit();
  }

private:
  const Done done_;
  RecordReader reader_;
  std::vector<ProcessRecord> processes_;
};

/// A process' output from an offset on; each event's id is the offset behind it.
class ProcessOutput final : public EventAnswer {
public:
  using EventAnswer::EventAnswer;
  void on_opened(const Opened& opened) override {
    offset_ = opened.offset;
    emit(server_sent_comment());
  }
  void on_data(StreamData& data) override {
    offset_ += data.bytes.size();
    if (data.bytes.empty()) return;
    emit(output_event(to_string(data.part), data.text(), std::to_string(offset_)), data.bytes.size());
  }
  void on_gap(const OutputGap& gap) override {
    offset_ = gap.offset;
    emit(server_sent_event("gap", "{\"offset\":" + std::to_string(offset_) + "}", std::to_string(offset_)));
  }
  void on_exit(const StreamExit& exit) override {
    json::Writer json;
    json.begin_object();
    write_end(json, command_end(exit.exit_code, exit.signal, exit.timed_out));
    json.end_object();
    emit(server_sent_event("exit", json.take()));
    end();
  }

private:
  std::uint64_t offset_ = 0;
};

/// Sends a signal; a process that has ended is forgotten instead.
class ProcessSignal final : public OneAnswer {
public:
  ProcessSignal(Responder responder, std::string process_id)
      : OneAnswer(std::move(responder)), process_id_(std::move(process_id)) {}
  void on_exit(const StreamExit&) override {
    responder().send(204);
    quit();
  }
  void on_failed(const Error& error) override {
    if (error.code == ErrorCode::process_ended && !std::exchange(forgetting_, true))
      return reopen(ForgetRequest{.process_id = process_id_});
    OneAnswer::on_failed(error);
  }

private:
  const std::string process_id_;
  bool forgetting_ = false;
};

/// "TERM", "SIGTERM" or "15".
Result<std::uint32_t> signal_number(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, std::uint32_t>, 20> names = {
      {{"HUP", 1},   {"INT", 2},   {"QUIT", 3},  {"ILL", 4},   {"TRAP", 5},  {"ABRT", 6},  {"BUS", 7},
       {"FPE", 8},   {"KILL", 9},  {"USR1", 10}, {"SEGV", 11}, {"USR2", 12}, {"PIPE", 13}, {"ALRM", 14},
       {"TERM", 15}, {"CHLD", 17}, {"CONT", 18}, {"STOP", 19}, {"TSTP", 20}, {"WINCH", 28}}};
  const auto name = text.starts_with("SIG") ? text.substr(3) : text;
  for (const auto& [known, number] : names)
    if (known == name) return number;
  if (const auto number = whole_number<std::uint32_t>(text); number && *number >= 1 && *number <= 64) return *number;
  return fail(invalid_parameter("signal a process", "?signal", "'" + std::string(text) + "' is no signal",
                                "use TERM, KILL, INT, … or 1 to 64"));
}

void list(Api& api, const Request& request, Responder responder, ProcessList::Done done) {
  const auto sandbox = running_sandbox_of(api, request);
  if (!sandbox) return responder.send_problem(sandbox.error());
  start_guest_client(api, (*sandbox)->id, ProcessesRequest{},
                     std::make_unique<ProcessList>(std::move(responder), std::move(done)));
}

void follow_output(Api& api, const Request& request, Responder responder) {
  if (auto known = check_query(request, {"since"}); !known) return responder.send_problem(known.error());
  const auto sandbox = running_sandbox_of(api, request);
  if (!sandbox) return responder.send_problem(sandbox.error());
  AttachRequest attach{.process_id = std::string(request.param("process_id"))};
  // A browser's EventSource says by this header where it was.
  const auto since = request.query_parameter("since").value_or(request.header("last-event-id").value_or("0"));
  const auto offset = whole_number<std::uint64_t>(since);
  if (!offset)
    return responder.send_problem(invalid_parameter("follow a process", "?since", "must be a whole number",
                                                    "use the id of the last event that came"));
  attach.offset = *offset;
  start_guest_client(api, (*sandbox)->id, std::move(attach), std::make_unique<ProcessOutput>(std::move(responder)));
}

}  // namespace

void add_process_routes(Router& router, Api& api) {
  router.add(Method::get, kProcesses, [&api](const Request& request, Responder responder) {
    const auto page = read_page(request);
    if (!page) return responder.send_problem(page.error());
    list(api, request, std::move(responder), [page = *page](Responder& to, const std::vector<ProcessRecord>& all) {
      to.send(200, list_json(
                       all, page, [](const auto& process) { return process.process_id; },
                       [](const auto& process) { return to_json(process); }));
    });
  });
  router.add(Method::get, kProcess, [&api](const Request& request, Responder responder) {
    list(api, request, std::move(responder),
         [wanted = std::string(request.param("process_id"))](Responder& to, const std::vector<ProcessRecord>& all) {
           for (const auto& process : all)
             if (process.process_id == wanted) return to.send(200, to_json(process));
           to.send_problem(no_such_process(wanted));
         });
  });
  router.add(Method::del, kProcess, [&api](const Request& request, Responder responder) {
    if (auto known = check_query(request, {"signal"}); !known) return responder.send_problem(known.error());
    const auto sandbox = running_sandbox_of(api, request);
    if (!sandbox) return responder.send_problem(sandbox.error());
    const auto number = signal_number(request.query_parameter("signal").value_or("TERM"));
    if (!number) return responder.send_problem(number.error());
    const std::string process_id(request.param("process_id"));
    responder.note("process", process_id);
    responder.note("signal", std::to_string(*number));
    start_guest_client(api, (*sandbox)->id, SignalRequest{.process_id = process_id, .number = *number},
                       std::make_unique<ProcessSignal>(std::move(responder), process_id));
  });
  router.add(Method::get, std::string(kProcess) + "/output", [&api](const Request& request, Responder responder) {
    follow_output(api, request, std::move(responder));
  });
  router.add_streaming(Method::post, std::string(kProcess) + "/stdin",
                       [&api](const Request& request, BodyReader body, Responder responder) {
                         if (auto known = check_query(request, {"eof"}); !known)
                           return responder.send_problem(known.error());
                         const auto sandbox = running_sandbox_of(api, request);
                         if (!sandbox) return responder.send_problem(sandbox.error());
                         InputRequest input{.process_id = std::string(request.param("process_id")),
                                            .eof = request.query_parameter("eof") == "1"};
                         responder.note("process", input.process_id);
                         start_guest_client(api, (*sandbox)->id, std::move(input),
                                            std::make_unique<GuestUpload>(std::move(responder), std::move(body)));
                       },
                       {.max_body_bytes = unlimited, .body_may_pause = true});
}

}  // namespace nanobox::http
