#pragma once

#include <caf/scoped_actor.hpp>
#include <catch2/catch.hpp>

#include "actors/cluster/guest_router.hpp"
#include "actors/cluster/network_directory.hpp"
#include "actors/cluster/node_registry.hpp"
#include "actors/cluster/node_session.hpp"
#include "actors/cluster/sandbox_directory.hpp"
#include "actors/cluster/template_directory.hpp"
#include "actors/supervisor.hpp"
#include "pipeline/store/control_store.hpp"
#include "tests/actors/actor_system_fixture.hpp"
#include "tests/pipeline/warmup/source/temp_folder.hpp"

namespace nanobox::test {

/// A node that does what the test says: it notes what it is asked for, and answers when the test does.
struct StandInNode {
  std::string node_id;
  std::vector<std::string> orders;  ///< "create sb-1", "remove sb-1", …
  std::map<std::string, caf::typed_response_promise<Sandbox>> creating;
  std::map<std::string, Result<Sandbox>> answers;  ///< to `creating`, given when it is told to drain
  std::vector<StreamSink> sinks;
  std::optional<Error> remove_fails;
  NodeFaceActor face;
  NodeInboxActor inbox;
  Admission admission;

  std::size_t count(const std::string& order) const {
    return static_cast<std::size_t>(std::count(orders.begin(), orders.end(), order));
  }
};
using SharedNode = std::shared_ptr<StandInNode>;

inline NodeFaceActor::behavior_type stand_in_face(NodeFaceActor::pointer self, SharedNode node) {
  const auto note = [node](const std::string& what, const std::string& id) { node->orders.push_back(what + " " + id); };
  const auto unknown = [] {
    return to_caf(Error{.code = ErrorCode::internal,
                        .attempted = "ask a stand-in",
                        .subject = "",
                        .reason = "it does not do that",
                        .mend = ""});
  };
  return {
      [=](cancel_atom, const std::string& id) { note("cancel", id); },
      [=](remove_atom, const std::string& id) -> caf::result<void> {
        note("remove", id);
        if (node->remove_fails) return to_caf(*node->remove_fails);
        return caf::unit;
      },
      [=](keep_atom, const std::string&, std::uint32_t) -> caf::result<Sandbox> { return unknown(); },
      [=](network_atom, const std::string&, const SandboxNetwork&) -> caf::result<Sandbox> { return unknown(); },
      [=](pause_atom, const std::string& id) -> caf::result<Sandbox> {
        note("pause", id);
        return self->make_response_promise<Sandbox>();
      },
      [=](resume_atom, const std::string&) -> caf::result<Sandbox> { return unknown(); },
      [=](fork_atom, const std::string& id, std::uint32_t) -> caf::result<Forked> {
        note("fork", id);
        return self->make_response_promise<Forked>();
      },
      [=](snapshot_atom, const std::string& id, const std::string&) -> caf::result<Template> {
        note("snapshot", id);
        return self->make_response_promise<Template>();
      },
      [=](open_atom, const std::string& id, const StreamRequest&, const StreamSink& sink) -> caf::result<GuestStream> {
        note("open", id);
        node->sinks.push_back(sink);
        return self->make_response_promise<GuestStream>();
      },
      [=](console_atom, const std::string&) -> caf::result<std::string> { return unknown(); },
      [=](console_atom, const std::string&, std::uint64_t) -> caf::result<ConsolePiece> { return unknown(); },
      [=](fetch_atom, const StateOffer&) -> caf::result<void> { return unknown(); },
      [=](undo_atom, const std::string&) -> caf::result<void> { return unknown(); },
      [=](adopt_atom, const std::string&, const Sandbox&) -> caf::result<Sandbox> { return unknown(); },
      [=](create_atom, const std::string&, std::uint32_t) -> caf::result<Forked> { return unknown(); },
      [=](capture_atom, const std::string&) -> caf::result<Forked> { return unknown(); },
      [=](create_atom, const SandboxOrder& order) -> caf::result<Sandbox> {
        note("create", order.sandbox.id);
        return node->creating[order.sandbox.id] = self->make_response_promise<Sandbox>();
      },
      [=](warmup_atom, const WarmupRequest& request) -> caf::result<WarmupAnswer> {
        note("warmup", request.name);
        return WarmupAnswer{.name = request.name, .operation_id = "run-" + node->node_id};
      },
      [=](remove_atom, const std::string&, const std::string& name, bool) -> caf::result<void> {
        note("remove template", name);
        return caf::unit;
      },
      [](network_atom, const RemoteNetworks&) {},
      [](address_atom, const std::vector<std::string>&, bool) {},
      [=](drain_atom, bool) {
        for (auto& [id, made] : std::exchange(node->answers, {})) deliver_result(node->creating.at(id), made);
      },
  };
}

/// A control plane whose actors the test may kill, with stand-ins for nodes.
class ClusterFixture : public ActorSystemFixture {
public:
  ClusterFixture() {
    control = std::make_shared<ControlServices>();
    control->version = "1.0";
    control->store = *ControlStore::open(folder / "control.db");
    control->boards = std::make_shared<Boards>();
    start_plane();
  }

protected:
  /// What an asker was answered so far.
  template <class T>
  using Answer = std::shared_ptr<std::optional<Result<T>>>;

  template <class T, class Handle, class... Message>
  Answer<T> ask(const Handle& handle, Message... message) {
    auto answer = std::make_shared<std::optional<Result<T>>>();
    start([=](caf::event_based_actor* self) {
      const auto failed = [answer](caf::error& error) { *answer = fail(from_caf(error, "ask")); };
      if constexpr (std::is_void_v<T>)
        self->request(handle, caf::infinite, message...).then([answer] { *answer = Result<void>(); }, failed);
      else
        self->request(handle, caf::infinite, message...)
            .then([answer](T& value) { *answer = std::move(value); }, failed);
    });
    settle();
    return answer;
  }

  template <class T>
  static ErrorCode code_of(const Answer<T>& answer) {
    REQUIRE(answer->has_value());
    REQUIRE_FALSE((*answer)->has_value());
    return (*answer)->error().code;
  }

  void start_plane() {
    templates = supervised<TemplateDirectoryActor>("template_directory",
                                                   [this] { return system().spawn(template_directory, control); });
    sandboxes = supervised<SandboxDirectoryActor>("sandbox_directory",
                                                  [this] { return system().spawn(sandbox_directory, control); });
    guests = supervised<GuestRouterActor>("guest_router", [this] { return system().spawn(guest_router, control); });
    networks = supervised<NetworkDirectoryActor>("network_directory",
                                                 [this] { return system().spawn(network_directory, control); });
    nodes = supervised<NodeRegistryActor>("node_registry", [this] {
      return system().spawn(node_registry, control, sandboxes, templates, guests, networks);
    });
    settle();
  }

  /// As another process with what this one stored.
  void restart_control_plane() {
    for (const auto& actor : {caf::actor_cast<caf::actor>(nodes), caf::actor_cast<caf::actor>(networks),
                              caf::actor_cast<caf::actor>(guests), caf::actor_cast<caf::actor>(sandboxes),
                              caf::actor_cast<caf::actor>(templates)})
      caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    settle();
    auto next = std::make_shared<ControlServices>();
    next->version = control->version;
    next->local_node_id = control->local_node_id;
    next->store = control->store;
    next->boards = std::make_shared<Boards>();
    for (const auto& node : control->boards->nodes.all()) {
      NodeStatus lost = *node;
      lost.state = NodeState::lost;
      next->boards->nodes.publish(lost.node_id, lost);
    }
    control = next;
    start_plane();
  }

  /// Kills the actor behind a supervised concern, and waits until the next one is there.
  void kill(const std::string& concern) {
    caf::anon_send_exit(children.at(concern), caf::exit_reason::kill);
    settle();
    let_pass(std::chrono::seconds(1));
  }

  SharedNode join(const std::string& node_id) {
    if (node_id != control->local_node_id) {
      auto joined = ask<NodeStatus>(nodes, join_atom_v, node_id, "key of " + node_id);
      REQUIRE(joined->has_value());
    }
    auto node = std::make_shared<StandInNode>();
    node->node_id = node_id;
    return node;
  }

  static NodeHello hello_of(const std::string& node_id) {
    NodeHello hello;
    hello.node_id = node_id;
    hello.version = "1.0";
    hello.incarnation = "first " + node_id;
    hello.vmm = "stand-in";
    hello.capacity = {.vcpu = 4, .memory_mb = 8192, .disk_mb = 100'000};
    return hello;
  }

  /// It connects, or connects anew.
  void connect(const SharedNode& node, std::vector<Sandbox> holding = {}, std::vector<Template> having = {}) {
    auto hello = hello_of(node->node_id);
    hello.sandboxes = std::move(holding);
    hello.templates = std::move(having);
    node->face = start(stand_in_face, node);
    auto admitted = ask<Admission>(nodes, hello_atom_v, hello, node->face);
    REQUIRE(admitted->has_value());
    REQUIRE((*admitted)->has_value());
    node->admission = ***admitted;
    node->inbox = node->admission.inbox;
  }

  /// Its daemon dies.
  void die(const SharedNode& node) {
    caf::anon_send_exit(node->face, caf::exit_reason::kill);
    settle();
  }

  void tell(const SharedNode& node, NodeNews news) {
    caf::scoped_actor self(system());
    self->send(node->inbox, news_atom_v, std::move(news));
    settle();
  }
  void tell(const SharedNode& node, const Sandbox& sandbox) {
    NodeNews news;
    news.sandboxes.push_back(sandbox);
    tell(node, std::move(news));
  }
  void tell(const SharedNode& node, const Template& entry) {
    NodeNews news;
    news.templates.push_back(entry);
    tell(node, std::move(news));
  }

  /// A template of `ann` that is ready on the node, which was asked to make it.
  Template warm_up(const SharedNode& node, const std::string& name = "busybox") {
    WarmupRequest request;
    request.name = name;
    request.owner = "ann";
    REQUIRE(ask<WarmupAnswer>(templates, warmup_atom_v, request)->value().has_value());
    const auto entry = template_of(name, "version 1", "run-" + node->node_id);
    tell(node, entry);
    return entry;
  }

  static Template template_of(const std::string& name, const std::string& version, const std::string& operation = {}) {
    Template entry;
    entry.name = name;
    entry.owner = "ann";
    entry.status = TemplateStatus::ready;
    entry.operation_id = operation;
    entry.rootfs.identity = version;
    entry.rootfs.size_bytes = 1 << 20;
    entry.served = true;
    return entry;
  }

  static Sandbox sandbox_of(const std::string& id, SandboxStatus status = SandboxStatus::running) {
    Sandbox sandbox;
    sandbox.id = id;
    sandbox.owner = "ann";
    sandbox.template_name = "busybox";
    sandbox.status = status;
    sandbox.revision = 1;
    return sandbox;
  }

  Answer<Sandbox> create(const std::string& id) {
    BootRequest request;
    request.sandbox = sandbox_of(id, SandboxStatus::creating);
    request.sandbox.revision = 0;
    request.received = std::chrono::steady_clock::now();
    return ask<Sandbox>(sandboxes, create_atom_v, request);
  }

  /// The node answers an order to create.
  void answer(const SharedNode& node, const std::string& id, Result<Sandbox> made) {
    node->answers.insert_or_assign(id, std::move(made));
    caf::anon_send(node->face, drain_atom_v, true);
    settle();
  }

  /// One that runs on the node.
  void have(const SharedNode& node, const std::string& id) {
    const auto made = create(id);
    answer(node, id, sandbox_of(id));
    REQUIRE(made->has_value());
    REQUIRE((*made)->has_value());
  }

  Answer<void> remove(const std::string& id) { return ask<void>(sandboxes, remove_atom_v, id); }

  std::string status_of(const std::string& id) const {
    const auto sandbox = control->boards->sandboxes.find(id);
    return sandbox ? std::string(to_string(sandbox->status)) : "none";
  }
  std::string state_of(const std::string& node_id) const {
    const auto node = control->boards->nodes.find(node_id);
    return node ? std::string(to_string(node->state)) : "none";
  }

  TempFolder folder;
  std::shared_ptr<ControlServices> control;
  TemplateDirectoryActor templates;
  SandboxDirectoryActor sandboxes;
  GuestRouterActor guests;
  NetworkDirectoryActor networks;
  NodeRegistryActor nodes;
  std::map<std::string, caf::actor> children;  ///< behind the supervisors

private:
  template <class Handle, class Start>
  Handle supervised(const std::string& concern, Start spawn) {
    auto handle = supervise(system(), concern, control->boards, [this, concern, spawn](caf::actor_system&) {
      // As in start_control_plane: the nodes tell a new directory all again.
      const bool is_anew = children.contains(concern);
      Handle child = spawn();
      children[concern] = caf::actor_cast<caf::actor>(child);
      if (is_anew && concern != "node_registry" && nodes) caf::anon_send(nodes, tick_atom_v);
      return child;
    });
    keep(handle);
    return handle;
  }
};

}  // namespace nanobox::test
