#pragma once

#include <rapidjson/pointer.h>
#include <rapidjson/writer.h>

#include <caf/actor_system.hpp>
#include <mutex>

#include "edge_fixture.hpp"
#include "http/auth.hpp"
#include "http/json/document.hpp"
#include "http/resources/api.hpp"
#include "memory_rows.hpp"
#include "pipeline/events/event_ring.hpp"
#include "pipeline/store/audit_trail.hpp"

namespace nanobox::test {

inline const Error kConflict{.code = ErrorCode::conflict,
                             .attempted = "change sandbox",
                             .subject = "sb-1",
                             .reason = "somebody else is at it",
                             .mend = "try again"};

/// What the actors of the test were asked, and what they answer.
struct StandIn {
  std::mutex mutex;
  std::vector<std::string> asked;
  std::optional<BootRequest> boot;
  std::optional<WarmupRequest> warmup;
  Forked forked;
  bool refuses = false;

  template <class T>
  caf::result<T> answer(std::string what, T value) {
    const std::lock_guard lock(mutex);
    asked.push_back(std::move(what));
    if (refuses) return to_caf(kConflict);
    return value;
  }
  std::vector<std::string> all_asked() {
    const std::lock_guard lock(mutex);
    return asked;
  }
};

inline SandboxDirectoryActor::behavior_type stand_in_sandboxes(SandboxDirectoryActor::pointer,
                                                               std::shared_ptr<StandIn> stand_in,
                                                               std::shared_ptr<Boards> boards) {
  const auto with_status = [boards](const std::string& id, SandboxStatus status) {
    auto sandbox = *boards->sandboxes.find(id);
    sandbox.status = status;
    boards->sandboxes.publish(id, sandbox);
    return sandbox;
  };
  return {
      [=](create_atom, const BootRequest& request) {
        stand_in->boot = request;
        return stand_in->answer("create", request.sandbox);
      },
      [](cancel_atom, const std::string&) {},
      [](remove_atom, const std::string&) -> caf::result<void> { return caf::unit; },
      [=](keep_atom, const std::string& id, std::uint32_t) {
        return stand_in->answer("keep " + id, *boards->sandboxes.find(id));
      },
      [=](network_atom, const std::string& id, const SandboxNetwork& wanted) {
        auto changed = *boards->sandboxes.find(id);
        changed.network = wanted;
        return stand_in->answer("network " + id, changed);
      },
      [=](pause_atom, const std::string& id) {
        auto paused = with_status(id, SandboxStatus::paused);
        paused.pause_ms = 41;
        return stand_in->answer("pause " + id, paused);
      },
      [=](resume_atom, const std::string& id) {
        auto resumed = with_status(id, SandboxStatus::running);
        resumed.restore_time_ms = 12;
        return stand_in->answer("resume " + id, resumed);
      },
      [=](fork_atom, const std::string& id, std::uint32_t count) {
        return stand_in->answer("fork " + id + " " + std::to_string(count), stand_in->forked);
      },
      [=](snapshot_atom, const std::string& id, const std::string& name) {
        Template made;
        made.name = name;
        made.parent = "web";
        made.status = TemplateStatus::ready;
        return stand_in->answer("snapshot " + id + " " + name, made);
      },
      [=](place_atom, const BootRequest& request) {
        return stand_in->answer("place",
                                "{\"node_id\":\"here\",\"template\":\"" + request.sandbox.template_name + "\"}");
      },
      [](hello_atom, const NodeStatus&, const NodeSessionActor&, const std::vector<Sandbox>&,
         const std::vector<Template>&, const std::vector<std::string>&) { return std::vector<std::string>(); },
      [](node_atom, const NodeStatus&) {},
      [](lost_atom, const std::string&, std::uint64_t, const std::string&) {},
      [](news_atom, const std::string&, std::uint64_t, const NodeNews&) {},
      [](remove_atom, const std::string&, bool) {},
      [](flush_atom) {},
      [](tick_atom) {},
  };
}

inline TemplateDirectoryActor::behavior_type stand_in_templates(TemplateDirectoryActor::pointer,
                                                                std::shared_ptr<StandIn> stand_in) {
  return {
      [=](warmup_atom, const WarmupRequest& request) {
        stand_in->warmup = request;
        return stand_in->answer(
            "warmup", WarmupAnswer{.name = request.name, .operation_id = "op-1", .status = TemplateStatus::queued});
      },
      [](remove_atom, const std::string&, const std::string&, bool) -> caf::result<void> { return caf::unit; },
      [](hello_atom, const NodeStatus&, const NodeSessionActor&, const std::vector<Template>&) {},
      [](node_atom, const NodeStatus&) {},
      [](lost_atom, const std::string&, std::uint64_t, const std::string&) {},
      [](remove_atom, const std::string&, bool) {},
      [](news_atom, const std::string&, std::uint64_t, const NodeNews&) {},
  };
}

/// The edge with all resources of sandboxes, templates and nodes. The template "web" and the sandbox "sb-1" are there.
/// The key "aaaa" is the admin's, whose they are, "bbbb" is ann's.
class Resources {
public:
  explicit Resources(std::shared_ptr<AuditTrail> trail = nullptr) : audit(std::move(trail)) {
    auto services = std::make_shared<Services>();
    services->node_id = "here";
    services->boards = boards;
    services->driver_problem = kConflict;
    auto control = std::make_shared<ControlServices>();
    control->boards = boards;
    control->events = events;
    ControlPlane plane{};
    plane.control = control;
    plane.sandboxes = system_.spawn(stand_in_sandboxes, stand_in, boards);
    plane.templates = system_.spawn(stand_in_templates, stand_in);
    services_ = services;
    api_.reset(new http::Api{.system = system_,
                             .plane = std::move(plane),
                             .local = services,
                             .idempotency = std::make_shared<http::Idempotency>(std::make_shared<MemoryRows>()),
                             .embedded_images = {},
                             .audit = audit});
    Template entry;
    entry.owner = "admin";
    entry.name = "web";
    entry.rootfs.identity = "r";
    entry.status = TemplateStatus::ready;
    boards->templates.publish(template_key("admin", "web"), entry);
    NodeStatus here;
    here.node_id = "here";
    here.state = NodeState::ready;
    boards->nodes.publish(here.node_id, here);
    Sandbox sandbox;
    sandbox.id = "sb-1";
    sandbox.node_id = "here";
    sandbox.owner = "admin";
    sandbox.template_name = "web";
    sandbox.status = SandboxStatus::running;
    boards->sandboxes.publish(sandbox.id, sandbox);
    http::Router router;
    http::add_sandbox_routes(router, *api_);
    http::add_template_routes(router, *api_);
    http::add_exec_route(router, *api_);
    http::add_process_routes(router, *api_);
    http::add_file_routes(router, *api_);
    http::add_log_route(router, *api_);
    http::add_node_routes(router, *api_);
    http::add_event_routes(router, *api_);
    http::add_audit_route(router, *api_);
    http::add_webhook_route(router, *api_);
    http::AuthRules rules;
    rules.keys = {{.name = "admin", .key = "aaaa"}, {.name = "ann", .key = "bbbb"}};
    edge_.emplace(std::move(router), http::ServerSettings{.auth = std::make_shared<http::Authenticator>(rules)});
  }
  ~Resources() {
    edge_.reset();
    caf::anon_send_exit(api_->plane.sandboxes, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(api_->plane.templates, caf::exit_reason::user_shutdown);
  }

  struct Json {
    int status = 0;
    rapidjson::Document body;
    std::string text;
    /// What a JSON pointer leads to: a string's text, anything else as JSON; "" where nothing is. (RapidJSON's own ==
    /// never ends in C++20.)
    std::string at(const std::string& pointer) const {
      const auto* value = rapidjson::Pointer(pointer.c_str()).Get(body);
      if (value == nullptr) return "";
      if (value->IsString()) return value->GetString();
      rapidjson::StringBuffer buffer;
      rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
      value->Accept(writer);
      return buffer.GetString();
    }
    std::uint64_t number_at(const std::string& pointer) const { return std::stoull(at(pointer)); }
    std::size_t size_of(const char* pointer) const { return rapidjson::Pointer(pointer).Get(body)->Size(); }
    std::string code() const { return at("/code"); }
    std::string detail() const { return at("/detail"); }
  };
  Json post(const std::string& path, const std::string& body, const std::string& headers = "",
            const std::string& key = "aaaa") {
    Client client(edge_->port());
    client.post("/api/v1" + path, body, "Authorization: Bearer " + key + "\r\n" + headers);
    return read(client);
  }
  Json put(const std::string& path, const std::string& body) {
    Client client(edge_->port());
    client.send("PUT /api/v1" + path + " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer aaaa\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    return read(client);
  }
  Json get(const std::string& path, const std::string& key = "aaaa") {
    Client client(edge_->port());
    client.get("/api/v1" + path, "Authorization: Bearer " + key + "\r\n");
    return read(client);
  }
  void set_status(SandboxStatus status) {
    auto sandbox = *boards->sandboxes.find("sb-1");
    sandbox.status = status;
    boards->sandboxes.publish("sb-1", sandbox);
  }
  Services& services() { return *services_; }
  std::uint16_t port() const { return edge_->port(); }
  void begin_to_stop() { api_->stopping.request_stop(); }
  http::Api& api() { return *api_; }

  std::shared_ptr<Boards> boards = std::make_shared<Boards>();
  std::shared_ptr<StandIn> stand_in = std::make_shared<StandIn>();
  std::shared_ptr<EventRing> events = std::make_shared<EventRing>(kEventsKept);
  std::shared_ptr<AuditTrail> audit;
  static constexpr std::size_t kEventsKept = 100;

private:
  static Json read(Client& client) {
    const auto answer = client.read();
    REQUIRE(answer);
    auto document = http::json::parse(answer->body);
    REQUIRE(document);
    return {.status = answer->status, .body = std::move(*document), .text = answer->body};
  }

  ActorSystemConfig config_;
  caf::actor_system system_{config_};
  std::shared_ptr<Services> services_;
  std::unique_ptr<http::Api> api_;
  std::optional<Edge> edge_;
};

}  // namespace nanobox::test
