#include <algorithm>

#include "http/json/document.hpp"
#include "http/json/reader.hpp"
#include "http/json/writer.hpp"
#include "http/pagination.hpp"
#include "http/problem.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "http/resources/resources_field.hpp"
#include "http/resources/template_name_field.hpp"
#include "http/sse.hpp"
#include "pipeline/warmup/source/resolve.hpp"

namespace nanobox::http {

namespace {

constexpr std::chrono::seconds kWarmupAnswer{30};
constexpr std::chrono::seconds kRemove{60};
constexpr std::size_t kArgumentsMax = 4096;
constexpr std::int64_t kReadyMax = 3'600'000;

std::optional<Platform> parse_platform(const std::string& text) {
  const auto first = text.find('/');
  if (first == std::string::npos || first == 0) return std::nullopt;
  const auto second = text.find('/', first + 1);
  Platform platform{.os = text.substr(0, first),
                    .architecture = text.substr(first + 1, second == std::string::npos ? second : second - first - 1),
                    .variant = second == std::string::npos ? "" : text.substr(second + 1)};
  if (platform.architecture.empty()) return std::nullopt;
  return platform;
}

Prime::Ready read_ready(json::ObjectReader& ready) {
  Prime::Ready wanted;
  if (ready.has("command") == ready.has("port"))
    ready.complaints().invalid(ready.pointer_to("command"), "give either a command or a port");
  wanted.command = ready.text("command", {.min_bytes = 1}).value_or("");
  wanted.port = static_cast<std::uint16_t>(ready.integer("port", 1, 65'535).value_or(0));
  wanted.timeout_ms = static_cast<std::uint32_t>(ready.integer("timeout_ms", 1, kReadyMax).value_or(wanted.timeout_ms));
  return wanted;
}

Prime read_prime(json::ObjectReader& prime) {
  Prime wanted;
  wanted.command = prime.required_text("command");
  wanted.args = prime.texts("args", kArgumentsMax).value_or(std::vector<std::string>());
  wanted.background = prime.boolean("background").value_or(false);
  prime.object("ready", [&](json::ObjectReader& ready) { wanted.ready = read_ready(ready); });
  if (wanted.ready && !wanted.background)
    prime.complaints().invalid(prime.pointer_to("ready"),
                               "is for a command in the background: without it the command's end is waited for");
  return wanted;
}

Result<WarmupRequest> read_warmup(const Request& request) {
  const auto document = NANOBOX_TRY(json::parse_body(request));
  json::Complaints complaints;
  json::ObjectReader body(document, complaints);
  WarmupRequest warmup;
  warmup.owner = request.owner;
  warmup.name = read_template_name(body);
  warmup.image.image = body.required_text("image");
  body.object("credentials", [&](json::ObjectReader& credentials) {
    warmup.image.credentials = Credentials{.username = credentials.required_text("username"),
                                           .password = credentials.required_text("password")};
  });
  if (const auto platform = body.text("platform")) {
    if (const auto parsed = parse_platform(*platform))
      warmup.image.platform = *parsed;
    else
      complaints.invalid("/platform", "must be OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, e.g. linux/amd64");
  }
  if (warmup.image.platform.os != "linux" || warmup.image.platform.architecture != "amd64")
    complaints.invalid("/platform", "this node runs linux/amd64 only");
  warmup.resources = read_resources(body, warmup.resources);
  warmup.snapshot = body.boolean("snapshot").value_or(true);
  warmup.sshd = body.boolean("sshd").value_or(false);
  if (warmup.sshd) complaints.invalid("/sshd", "this version starts no sshd");
  warmup.force = body.boolean("force").value_or(false);
  body.object("prime", [&](json::ObjectReader& prime) { warmup.prime = read_prime(prime); });
  if (warmup.prime && !warmup.snapshot)
    complaints.invalid("/prime", "only a snapshot keeps what it makes: leave it out, or \"snapshot\":false");
  body.finish();
  NANOBOX_TRY(complaints.result());
  return warmup;
}

std::size_t sandboxes_on(const Api& api, const Template& entry) {
  const auto sandboxes = api.boards().sandboxes.all();
  return static_cast<std::size_t>(std::ranges::count_if(sandboxes, [&](const auto& sandbox) {
    return sandbox->template_name == entry.name && sandbox->owner == entry.owner;
  }));
}

Result<std::shared_ptr<const Template>> template_of(const Api& api, const Request& request) {
  auto entry = api.boards().templates.find(template_key(request.owner, std::string(request.param("name"))));
  if (!entry) return fail(no_such_template(request.param("name")));
  return entry;
}

/// What a template that is ready came through last.
std::string last_stage(const RunRecord* run) {
  if (run != nullptr)
    for (auto stage = run->stages.rbegin(); stage != run->stages.rend(); ++stage)
      if (stage->status != StageStatus::skipped) return stage->name;
  return "publish";
}

/// The status of a template and, where it is still known, of the run that makes it.
std::string status_json(const Template& entry, const RunRecord* run) {
  json::Writer json;
  auto status = entry.status;
  if (run != nullptr && status == TemplateStatus::queued && run->status == RunStatus::running)
    status = TemplateStatus::running;
  json.begin_object()
      .field("name", entry.name)
      .field("status", to_string(status))
      .field("operation_id", entry.operation_id);
  json.key("progress");
  const StageRecord* current = nullptr;
  if (run != nullptr)
    for (const auto& stage : run->stages)
      if (stage.status == StageStatus::running && (current == nullptr || current->total_bytes == 0)) current = &stage;
  if (current == nullptr) {
    json.begin_object();
    if (status == TemplateStatus::ready)
      json.field("stage", last_stage(run)).field("done_bytes", 0).field("total_bytes", 0).field("percent", 100.0);
    else
      json.null_field("stage").field("done_bytes", 0).field("total_bytes", 0).field("percent", 0.0);
    json.end_object();
  } else {
    const double percent =
        current->total_bytes == 0 ? 0.0 : static_cast<double>(current->done_bytes * 1000 / current->total_bytes) / 10.0;
    json.begin_object()
        .field("stage", current->name)
        .field("done_bytes", current->done_bytes)
        .field("total_bytes", current->total_bytes)
        .field("percent", percent)
        .end_object();
  }
  json.raw_field("stages", run != nullptr ? stages_json(*run) : "[]");
  if (entry.error)
    json.raw_field("error", problem_json(*entry.error));
  else
    json.null_field("error");
  json.end_object();
  return json.take();
}

/// Streams the status at each change until the template is ready or failed.
class StatusWatcher : public std::enable_shared_from_this<StatusWatcher> {
public:
  StatusWatcher(Api& api, std::string key, Stream stream)
      : api_(api), key_(std::move(key)), stream_(std::move(stream)) {}

  void begin(const std::string& run_id) {
    const std::lock_guard beginning(beginning_);
    const auto tell = [weak = weak_from_this()](const auto&) {
      if (const auto self = weak.lock()) self->tell();
    };
    self_ = shared_from_this();
    template_watch_ = api_.boards().templates.watch(key_, tell);
    run_watch_ = api_.boards().runs.watch(run_id, tell);
    stream_.on_disconnect([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->finish();
    });
    stopping_.emplace(api_.stopping.get_token(), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->finish();
    });
    this->tell();
  }

private:
  void tell() {
    const std::lock_guard lock(mutex_);
    if (done_) return;
    const auto entry = api_.boards().templates.find(key_);
    if (!entry) {
      end();
      return;
    }
    const auto run = api_.boards().runs.find(entry->operation_id);
    auto text = status_json(*entry, run.get());
    if (text != last_) stream_.write(server_sent_event("status", text));
    last_ = std::move(text);
    const bool over = entry->status == TemplateStatus::ready || entry->status == TemplateStatus::failed;
    if (over && (!run || run->ended_at)) end();
  }
  void finish() {
    const std::lock_guard lock(mutex_);
    if (!done_) end();
  }
  /// The watches and the callback are let go on a thread of their own: their destructors wait for the very callback
  /// that runs here.
  void end() {
    done_ = true;
    stream_.end();
    api_.system.spawn([self = std::exchange(self_, nullptr)](caf::event_based_actor*) {
      if (!self) return;
      const std::lock_guard begun(self->beginning_);
      self->template_watch_ = {};
      self->run_watch_ = {};
      self->stopping_.reset();
    });
  }

  Api& api_;
  const std::string key_;
  Stream stream_;
  std::mutex beginning_;  ///< held while the watches are set up
  std::mutex mutex_;
  bool done_ = false;
  std::string last_;
  std::shared_ptr<StatusWatcher> self_;
  Board<Template>::Watch template_watch_;
  Board<RunRecord>::Watch run_watch_;
  std::optional<std::stop_callback<std::function<void()>>> stopping_;
};

/// A bare name that an embedded image has means that one: the first sandbox needs no registry.
void prefer_embedded(const Api& api, std::string& image) {
  if (api.embedded_images.empty() || !is_template_name(image)) return;
  std::error_code error;
  const auto layout = api.embedded_images / image;
  if (std::filesystem::exists(layout / "oci-layout", error)) image = "oci:" + layout.string();
}

void warm_up(Api& api, Request request, Responder responder) {
  auto warmup = read_warmup(request);
  if (warmup) prefer_embedded(api, warmup->image.image);
  if (warmup)
    if (auto named = check_image_name(api.image_sources, warmup->image.image); !named) warmup = fail(named.error());
  if (!warmup) {
    responder.send_problem(warmup.error());
    return;
  }
  responder.note("subject", warmup->name);
  responder.note("image", warmup->image.image);
  ask_actor<WarmupAnswer>(
      api, std::make_shared<Responder>(std::move(responder)), kWarmupAnswer, "warm up", api.plane.templates,
      [](Responder& to, const WarmupAnswer& answer) {
        json::Writer json;
        json.begin_object()
            .field("name", answer.name)
            .field("operation_id", answer.operation_id)
            .field("status", to_string(answer.status))
            .end_object();
        to.send(answer.status == TemplateStatus::ready ? 200 : 202, json.take());
      },
      warmup_atom_v, std::move(*warmup));
}

}  // namespace

void add_template_routes(Router& router, Api& api) {
  router.add(Method::post, "/api/v1/templates/warmup",
             api.idempotency->wrap([&api](Request request, Responder responder) {
               warm_up(api, std::move(request), std::move(responder));
             }));
  router.add(Method::get, "/api/v1/templates", [&api](const Request& request, Responder responder) {
    if (auto known = check_query(request, {"limit", "cursor"}); !known) return responder.send_problem(known.error());
    const auto page = read_page(request);
    if (!page) return responder.send_problem(page.error());
    std::vector<std::shared_ptr<const Template>> mine;
    for (auto& entry : api.boards().templates.all())
      if (entry->owner == request.owner) mine.push_back(std::move(entry));
    responder.send(200, list_json(
                            mine, *page, [](const auto& entry) { return entry->name; },
                            [&](const auto& entry) { return to_json(*entry, sandboxes_on(api, *entry)); }));
  });
  router.add(Method::get, "/api/v1/templates/{name}", [&api](const Request& request, Responder responder) {
    const auto entry = template_of(api, request);
    if (!entry) return responder.send_problem(entry.error());
    responder.send(200, to_json(**entry, sandboxes_on(api, **entry)));
  });
  router.add(Method::get, "/api/v1/templates/{name}/status", [&api](const Request& request, Responder responder) {
    if (auto known = check_query(request, {"watch"}); !known) return responder.send_problem(known.error());
    const auto entry = template_of(api, request);
    if (!entry) return responder.send_problem(entry.error());
    if (request.query_parameter("watch") == "1" && request.accepts(event_stream_type)) {
      const auto watcher = std::make_shared<StatusWatcher>(api, template_key((*entry)->owner, (*entry)->name),
                                                           responder.begin_stream(event_stream_type));
      watcher->begin((*entry)->operation_id);
      return;
    }
    responder.send(200, status_json(**entry, api.boards().runs.find((*entry)->operation_id).get()));
  });
  router.add(Method::del, "/api/v1/templates/{name}", [&api](const Request& request, Responder responder) {
    if (auto known = check_query(request, {"force"}); !known) return responder.send_problem(known.error());
    const auto entry = template_of(api, request);
    if (!entry) return responder.send_problem(entry.error());
    responder.note("subject", (*entry)->name);
    ask_actor<void>(
        api, std::make_shared<Responder>(std::move(responder)), kRemove, "remove template", api.plane.templates,
        [](Responder& to) { to.send(204); }, remove_atom_v, request.owner, (*entry)->name,
        request.query_parameter("force") == "1");
  });
}

}  // namespace nanobox::http
