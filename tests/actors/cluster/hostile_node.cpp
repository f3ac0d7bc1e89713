// A node of a cluster, with a token and a certificate as any other, that does its worst to the control plane.
// hostile_node JOIN_ADDRESS TOKEN_FILE FOLDER NODE_ID OTHER_NODE SANDBOX TEMPLATE OWNER: the last four are another's.

#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>
#include <fstream>
#include <iostream>
#include <limits>

#include "actors/cluster/cluster_port.hpp"
#include "pipeline/cluster/identity/join_client.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

/// Takes every order and answers none of them.
NodeFaceActor::behavior_type idle_face(NodeFaceActor::pointer self) {
  return {
      [](cancel_atom, const std::string&) {},
      [self](remove_atom, const std::string&) -> caf::result<void> { return self->make_response_promise<void>(); },
      [self](keep_atom, const std::string&, std::uint32_t) -> caf::result<Sandbox> {
        return self->make_response_promise<Sandbox>();
      },
      [self](network_atom, const std::string&, const SandboxNetwork&) -> caf::result<Sandbox> {
        return self->make_response_promise<Sandbox>();
      },
      [self](pause_atom, const std::string&) -> caf::result<Sandbox> { return self->make_response_promise<Sandbox>(); },
      [self](resume_atom, const std::string&) -> caf::result<Sandbox> {
        return self->make_response_promise<Sandbox>();
      },
      [self](fork_atom, const std::string&, std::uint32_t) -> caf::result<Forked> {
        return self->make_response_promise<Forked>();
      },
      [self](snapshot_atom, const std::string&, const std::string&) -> caf::result<Template> {
        return self->make_response_promise<Template>();
      },
      [self](open_atom, const std::string&, const StreamRequest&, const StreamSink&) -> caf::result<GuestStream> {
        return self->make_response_promise<GuestStream>();
      },
      [self](console_atom, const std::string&) -> caf::result<std::string> {
        return self->make_response_promise<std::string>();
      },
      [self](console_atom, const std::string&, std::uint64_t) -> caf::result<ConsolePiece> {
        return self->make_response_promise<ConsolePiece>();
      },
      [self](fetch_atom, const StateOffer&) -> caf::result<void> { return self->make_response_promise<void>(); },
      [self](undo_atom, const std::string&) -> caf::result<void> { return self->make_response_promise<void>(); },
      [self](adopt_atom, const std::string&, const Sandbox&) -> caf::result<Sandbox> {
        return self->make_response_promise<Sandbox>();
      },
      [self](create_atom, const std::string&, std::uint32_t) -> caf::result<Forked> {
        return self->make_response_promise<Forked>();
      },
      [self](capture_atom, const std::string&) -> caf::result<Forked> { return self->make_response_promise<Forked>(); },
      [self](create_atom, const SandboxOrder&) -> caf::result<Sandbox> {
        return self->make_response_promise<Sandbox>();
      },
      [self](warmup_atom, const WarmupRequest&) -> caf::result<WarmupAnswer> {
        return self->make_response_promise<WarmupAnswer>();
      },
      [self](remove_atom, const std::string&, const std::string&, bool) -> caf::result<void> {
        return self->make_response_promise<void>();
      },
      [](network_atom, const RemoteNetworks&) {},
      [](address_atom, const std::vector<std::string>&, bool) {},
      [](drain_atom, bool) {},
  };
}

struct Victim {
  std::string node_id, sandbox, template_name, owner;
};

class HostileNode {
public:
  HostileNode(caf::actor_system& system, ControlPlaneDoor door, std::string node_id, Victim victim)
      : system_(system), door_(std::move(door)), self_(system), node_id_(std::move(node_id)), victim_(victim) {}

  void do_its_worst() {
    step("opens the door", [this] { open(); });
    step("introduces itself falsely", [this] { introduce_itself_falsely(); });
    step("comes in", [this] { come_in(); });
    step("lies", [this] { lie(); });
    step("reaches for what is inside", [this] { reach_for_what_is_inside(); });
    step("spawns actors there", [this] { spawn_there(); });
    step("floods", [this] { flood(); });
    step("comes in again", [this] { come_in(); });
    step("kills what it reaches", [this] { kill_what_it_reaches(); });
  }

private:
  template <class Step>
  void step(const char* what, Step take) {
    std::cout << "it " << what << std::endl;
    take();
  }

  void open() {
    const auto end = std::chrono::steady_clock::now() + 20s;
    for (;;) {
      if (auto opened = door_.open()) {
        handle_ = std::move(*opened);
        return;
      } else if (std::chrono::steady_clock::now() > end) {
        throw std::runtime_error(describe(opened.error()));
      }
      std::this_thread::sleep_for(100ms);
    }
  }

  Result<Admission> say(const NodeHello& hello, const NodeFaceActor& face) {
    std::string proof;
    self_->request(handle_, 5s, greet_atom_v)
        .receive([&](const std::string& challenge) { proof = *door_.prove(challenge); }, [](caf::error&) {});
    Result<Admission> admitted;
    self_->request(handle_, 5s, hello_atom_v, hello, face, proof)
        .receive([&](Admission& admission) { admitted = std::move(admission); },
                 [&](caf::error& error) { admitted = fail(from_caf(error, "come in")); });
    return admitted;
  }

  NodeHello honest() const {
    NodeHello hello;
    hello.node_id = node_id_;
    hello.version = "1";
    hello.incarnation = "hostile";
    hello.capacity = {.vcpu = 1, .memory_mb = 1, .disk_mb = 1};
    return hello;
  }

  void must_be_refused(const std::string& what, const NodeHello& hello, const NodeFaceActor& face) {
    if (const auto admitted = say(hello, face)) throw std::runtime_error("it was let in with " + what);
  }

  void introduce_itself_falsely() {
    const auto face = system_.spawn(idle_face);
    must_be_refused("no face", honest(), NodeFaceActor());
    must_be_refused("the door as its face", honest(), caf::actor_cast<NodeFaceActor>(handle_));
    auto hello = honest();
    hello.node_id = victim_.node_id;
    must_be_refused("another's name", hello, face);
    hello = honest();
    hello.data_addr.assign(std::size_t{8} << 20, 'x');
    must_be_refused("a giant address", hello, face);
    hello = honest();
    hello.epoch = std::numeric_limits<std::uint64_t>::max();
    must_be_refused("the last epoch", hello, face);
    hello = honest();
    hello.capacity.disk_overcommit = std::numeric_limits<double>::quiet_NaN();
    must_be_refused("no number", hello, face);
    hello = honest();
    hello.protocol = 99;
    must_be_refused("another protocol", hello, face);
    caf::anon_send_exit(face, caf::exit_reason::user_shutdown);
  }

  /// As an honest node, but that it holds another's sandbox and template.
  void come_in() {
    open();
    auto hello = honest();
    hello.sandboxes = {sandbox()};
    hello.templates = {entry()};
    Result<Admission> admitted;
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (std::chrono::steady_clock::now() < end) {
      admitted = say(hello, system_.spawn(idle_face));
      if (admitted) break;
      std::this_thread::sleep_for(100ms);
      open();
    }
    if (!admitted) throw std::runtime_error("it was not let in: " + describe(admitted.error()));
    if (admitted->given_up != std::vector<std::string>{victim_.sandbox})
      throw std::runtime_error("it may keep another's sandbox");
    inbox_ = admitted->inbox;
  }

  Sandbox sandbox() const {
    Sandbox taken;
    taken.id = victim_.sandbox;
    taken.owner = victim_.owner;
    taken.template_name = victim_.template_name;
    taken.status = SandboxStatus::failed;
    taken.revision = std::numeric_limits<std::uint64_t>::max();
    return taken;
  }

  Template entry() const {
    Template forged;
    forged.name = victim_.template_name;
    forged.owner = victim_.owner;
    forged.status = TemplateStatus::ready;
    forged.served = true;
    forged.rootfs.identity = "forged";
    forged.updated_at = wall_now() + std::chrono::hours(1000);
    return forged;
  }

  void lie() {
    NodeNews news;
    news.sandboxes = {sandbox()};
    news.templates = {entry()};
    auto unknown = entry();
    unknown.name = "forged";
    news.templates.push_back(unknown);
    for (const auto* pipeline : {"boot", "warmup"}) {
      RunRecord run;
      run.id = std::string("run-forged-") + pipeline;
      run.pipeline = pipeline;
      run.subject = pipeline == std::string("boot") ? victim_.sandbox : victim_.template_name;
      run.owner = victim_.owner;
      news.runs.push_back(run);
    }
    self_->send(inbox_, news_atom_v, news);
    NodeNews gone;
    gone.gone_sandboxes = {victim_.sandbox};
    gone.gone_templates = {victim_.owner + "/" + victim_.template_name};
    self_->send(inbox_, news_atom_v, gone);
  }

  /// What is meant for the process' own actors.
  void reach_for_what_is_inside() {
    for (const auto& handle : {caf::actor_cast<caf::actor>(inbox_), caf::actor_cast<caf::actor>(handle_)}) {
      for (int i = 0; i < 1000; ++i) self_->send(handle, tick_atom_v);
      self_->send(handle, lost_atom_v, std::string("says the enemy"));
      self_->send(handle, cordon_atom_v, victim_.node_id, true, std::uint32_t{0});
      self_->send(handle, remove_atom_v, victim_.sandbox);
      self_->send(handle, remove_atom_v, victim_.owner, victim_.template_name, true);
      self_->send(handle, join_atom_v, std::string("n9"), std::string("key"));
      self_->send(handle, static_cast<ErrorCode>(255));
      self_->send(handle, std::string(std::size_t{32} << 20, 'x'));
    }
  }

  void spawn_there() {
    const auto node = inbox_.node();
    if (system_.middleman().remote_spawn<caf::actor>(node, "node_session", caf::make_message(), 2s))
      throw std::runtime_error("it spawned an actor there");
  }

  void flood() {
    for (int i = 0; i < 20'000; ++i) {
      self_->send(inbox_, beat_atom_v, NodeBeat());
      self_->send(inbox_, news_atom_v, NodeNews());
    }
    NodeNews giant;
    giant.gone_sandboxes.resize(200'000, "sb-none");
    self_->send(inbox_, news_atom_v, giant);
  }

  void kill_what_it_reaches() {
    for (const auto reason : {caf::exit_reason::normal, caf::exit_reason::user_shutdown, caf::exit_reason::kill}) {
      self_->send_exit(inbox_, reason);
      self_->send_exit(handle_, reason);
    }
    std::this_thread::sleep_for(500ms);  // until they are sent
  }

  caf::actor_system& system_;
  ControlPlaneDoor door_;
  caf::scoped_actor self_;
  std::string node_id_;
  Victim victim_;
  NodeDoorActor handle_;
  NodeInboxActor inbox_;
};

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(describe(result.error()));
  return std::move(*result);
}

void run(const std::vector<std::string>& arguments) {
  const std::filesystem::path folder = arguments.at(2);
  std::string token;
  std::ifstream(arguments.at(1)) >> token;
  const auto joined = must(join({.control_address = arguments.at(0),
                                 .token = token,
                                 .node_id = arguments.at(3),
                                 .program_version = "1",
                                 .key = must(PrivateKey::open_or_make(folder / "key.pem"))},
                                std::chrono::steady_clock::now() + 20s));
  ActorSystemConfig config;
  use_network(config, must(write_tls_files(joined.identity, folder / "tls")));
  caf::actor_system system(config);
  auto door = remote_door(system, must(parse_listen_address(joined.grant.listen_addr)),
                          [identity = joined.identity] { return identity; });
  HostileNode(system, std::move(door), arguments.at(3),
              {arguments.at(4), arguments.at(5), arguments.at(6), arguments.at(7)})
      .do_its_worst();
  std::cout << "it did its worst" << std::endl;
  std::_Exit(0);  // nothing of it ends in order
}

}  // namespace

int main(int count, char** arguments) {
  try {
    run({arguments + 1, arguments + count});
  } catch (const std::exception& error) {
    std::cout << "hostile_node: " << error.what() << std::endl;
  }
  std::_Exit(1);
}
