#include "actors/cluster/node_link.hpp"

#include "actors/cluster/node_face.hpp"
#include "actors/cluster/node_meter.hpp"
#include "actors/cluster/node_session.hpp"
#include "actors/cluster/node_usage.hpp"
#include "actors/concern_reports.hpp"
#include "actors/job.hpp"
#include "config/log.hpp"
#include "pipeline/cluster/lineage/lineage_artifacts.hpp"
#include "pipeline/cluster/subnet_parts.hpp"

namespace nanobox {

namespace {

using Self = NodeLinkActor::stateful_pointer<NodeLinkState>;
constexpr std::chrono::seconds kGreetDeadline{5};
constexpr std::chrono::seconds kHelloDeadline{30};
constexpr std::chrono::milliseconds kFirstBackOff{100};
constexpr std::chrono::milliseconds kLongestBackOff{5'000};
constexpr std::chrono::minutes kEndDeadline{2};
/// Sums over whole folders are told less often.
constexpr std::uint64_t kBeatsPerUsage = 10;
constexpr std::uint64_t kBeatsPerMeasurement = 15;
constexpr std::chrono::minutes kMeasureDeadline{5};
constexpr std::chrono::seconds kCountDeadline{60};
/// What ran while there was no connection is told afterwards, so many of the latest.
constexpr std::size_t kRunsKept = 1000;
/// Deaths in one message.
constexpr std::size_t kDeathsAtOnce = 500;
constexpr std::size_t kConsolesAtOnce = std::size_t{1} << 20;

template <class T>
std::vector<T> copies_of(const Board<T>& board) {
  std::vector<T> copies;
  for (const auto& value : board.all()) copies.push_back(*value);
  return copies;
}

void watch_boards(Self self) {
  auto& boards = *self->state.node.services->boards;
  const auto tell = [link = self->address()](NodeNews news) {
    if (const auto actor = caf::actor_cast<NodeLinkActor>(link)) caf::anon_send(actor, news_atom_v, std::move(news));
  };
  self->state.sandboxes = boards.sandboxes.watch_all([tell](const std::string& id, const auto& sandbox) {
    NodeNews news;
    if (sandbox)
      news.sandboxes.push_back(*sandbox);
    else
      news.gone_sandboxes.push_back(id);
    tell(std::move(news));
  });
  self->state.templates = boards.templates.watch_all([tell](const std::string& key, const auto& entry) {
    NodeNews news;
    if (entry)
      news.templates.push_back(*entry);
    else
      news.gone_templates.push_back(key);
    tell(std::move(news));
  });
  self->state.runs = boards.runs.watch_all([tell](const std::string&, const auto& run) {
    if (!run) return;
    NodeNews news;
    news.runs.push_back(*run);
    tell(std::move(news));
  });
  self->state.pools = boards.pools.watch_all([tell](const std::string&, const auto& pool) {
    if (!pool) return;
    NodeNews news;
    news.pools.push_back(*pool);
    tell(std::move(news));
  });
  self->state.deaths = boards.deaths.watch_all([tell](const std::string&, const auto& death) {
    if (!death) return;
    NodeNews news;
    news.deaths.push_back(*death);
    tell(std::move(news));
  });
}

template <class T>
void move_behind(std::vector<T>& into, std::vector<T>& from) {
  if (into.empty())
    into = std::move(from);
  else
    into.insert(into.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

void connect_later(Self self) {
  auto& state = self->state;
  state.back_off = std::clamp(state.back_off * 2, kFirstBackOff, kLongestBackOff);
  // So that the nodes of a control plane that was away do not all come at once.
  const auto most = static_cast<std::uint32_t>(state.back_off.count());
  self->delayed_send(self, std::chrono::milliseconds(most / 2 + state.jitter() % (most / 2 + 1)), tick_atom_v);
}

void disconnect(Self self) {
  auto& state = self->state;
  if (state.face) self->send_exit(*state.face, caf::exit_reason::user_shutdown);
  state.face.reset();
  state.inbox.reset();
}

void failed(Self self, const Error& error) {
  log_warn(LogComponent::node, {}, "{}", describe(error));
  disconnect(self);
  connect_later(self);
}

/// What another node has now, or nobody any more, is ended here.
void end_given_up(Self self, const std::vector<std::string>& ids) {
  for (const auto& id : ids) {
    log_info(LogComponent::node, {{"sandbox", id}},
             "the control plane gave it up while this node was away; it is ended");
    self->request(self->state.node.sandboxes, kEndDeadline, remove_atom_v, id)
        .then([] {},
              [id](caf::error& error) {
                log_warn(LogComponent::node, {{"sandbox", id}}, "{}", describe(from_caf(error, "end a sandbox")));
              });
  }
}

/// Beside the beats: a slow disk is no silence.
void measure(Self self) {
  request_job(self, kMeasureDeadline,
              [services = self->state.node.services]() -> Result<NodeBeat> {
                NodeBeat usage;
                measure_usage(*services, usage);
                return usage;
              })
      .then(
          [self](const NodeBeat& usage) {
            auto& beat = self->state.last_beat;
            beat.disk_free_mb = usage.disk_free_mb;
            beat.cache_bytes = usage.cache_bytes;
            beat.snapshot_bytes = usage.snapshot_bytes;
          },
          [](caf::error& error) {
            log_warn(LogComponent::node, {}, "{}", describe(from_caf(error, "measure the node's usage")));
          });
}

/// As `measure`: the allocator may be busy with its store.
void count_addresses(Self self) {
  self->request(self->state.node.ip_allocator, kCountDeadline, address_atom_v)
      .then(
          [self](std::uint32_t all, std::uint32_t free) {
            auto& beat = self->state.last_beat;
            beat.addresses = all;
            beat.addresses_free = free;
            // Another part of the subnet does not wait for the next beat.
            if (self->state.inbox && runs_low(free, all)) self->send(*self->state.inbox, beat_atom_v, beat);
          },
          [](caf::error& error) {
            log_warn(LogComponent::node, {}, "{}", describe(from_caf(error, "count the node's addresses")));
          });
}

/// As `measure`, if anybody looks at it.
void measure_machines(Self self) {
  auto& state = self->state;
  if (!state.node.services->counters || !state.node.pool_vms || std::exchange(state.metering, true)) return;
  request_job(self, kMeasureDeadline,
              [services = state.node.services, pool_vms = state.node.pool_vms, meter = state.meter,
               ended = std::exchange(state.ended, {})]() -> Result<NodeBeat> {
                NodeBeat measured;
                measured.usage = NANOBOX_TRY(measure_vmms(*services, *pool_vms, *meter, ended));
                return measured;
              })
      .then(
          [self](NodeBeat& measured) {
            self->state.metering = false;
            self->state.last_beat.usage = std::move(measured.usage);
          },
          [self](caf::error& error) {
            // Past its deadline it is still at work, and the meter with it.
            self->state.meter = std::make_shared<VmmMeter>();
            self->state.metering = false;
            log_warn(LogComponent::cluster, {}, "{}", describe(from_caf(error, "measure the node's VMMs")));
          });
}

void note_runs(NodeLinkState& state, const std::vector<RunRecord>& runs) {
  for (const auto& run : runs) {
    if (run.ended_at)
      state.open_runs.erase(run.id);
    else
      state.open_runs.try_emplace(run.id, run.pipeline);
  }
}

void count_up(Self self) {
  auto& state = self->state;
  const auto& services = *state.node.services;
  auto& beat = state.last_beat;
  ManyActors many;
  for (const auto& [id, pipeline] : state.open_runs) {
    many.boot_runs += pipeline == "boot" ? 1 : 0;
    many.warmup_runs += pipeline == "warmup" ? 1 : 0;
  }
  beat.concerns = concern_reports(*services.boards, many);
  if (!services.counters) return;
  beat.channel_in_bytes = services.counters->channel_in_bytes;
  beat.channel_out_bytes = services.counters->channel_out_bytes;
}

void say_well(Self self) {
  auto& state = self->state;
  if (state.beats % kBeatsPerUsage == 0) measure(self);
  if (state.beats % kBeatsPerMeasurement == 0) measure_machines(self);
  ++state.beats;
  count_addresses(self);
  judge_readiness(*state.node.services, state.last_beat);
  count_up(self);
  self->send(*state.inbox, beat_atom_v, state.last_beat);
}

/// What ended here in the last hour: what of it the control plane knows already it passes over.
void tell_deaths(Self self) {
  NodeNews news;
  std::size_t bytes = 0;
  for (const auto& death : self->state.node.services->boards->deaths.all()) {
    bytes += death->console.size();
    news.deaths.push_back(*death);
    if (bytes < kConsolesAtOnce && news.deaths.size() < kDeathsAtOnce) continue;
    self->send(*self->state.inbox, news_atom_v, std::exchange(news, {}));
    bytes = 0;
  }
  if (!news.empty()) self->send(*self->state.inbox, news_atom_v, std::move(news));
}

void admitted(Self self, const Admission& admission) {
  auto& state = self->state;
  log_info(LogComponent::node, {}, "connected with the control plane, epoch {}", admission.epoch);
  state.self_description.epoch = admission.epoch;
  state.inbox = admission.inbox;
  state.back_off = {};
  self->monitor(*state.inbox);
  tell_deaths(self);
  end_given_up(self, admission.given_up);
  say_well(self);
  if (!std::exchange(state.beating, true)) self->delayed_send(self, kNodeBeat, beat_atom_v);
  self->send(self, flush_atom_v);
}

void introduce(Self self, const NodeDoorActor& door, const std::string& challenge) {
  auto& state = self->state;
  auto proof = state.door.prove(challenge);
  if (!proof) return failed(self, proof.error());
  const auto& boards = *state.node.services->boards;
  NodeHello hello = state.self_description;
  auto runs = std::move(state.waiting.runs);
  state.waiting = {};  // what is said now is newer
  state.waiting.runs = std::move(runs);
  hello.sandboxes = copies_of(boards.sandboxes);
  hello.templates = copies_of(boards.templates);
  hello.pools = copies_of(boards.pools);
  for (const auto& kept : boards.kept_states.all())
    if (kept->status != SandboxStatus::creating) hello.kept_states.push_back(saved_name(*kept));
  state.face = self->spawn(node_face, state.node, state.fetchers, NewsFlushActor(NodeLinkActor(self)));
  self->request(door, kHelloDeadline, hello_atom_v, std::move(hello), *state.face, std::move(*proof))
      .then([self](const Admission& admission) { admitted(self, admission); },
            [self](caf::error& error) { failed(self, from_caf(error, "join the control plane")); });
}

void connect(Self self) {
  auto& state = self->state;
  const auto door = state.door.open();
  if (!door) return failed(self, door.error());
  self->request(*door, kGreetDeadline, greet_atom_v)
      .then([self, door = *door](const std::string& challenge) { introduce(self, door, challenge); },
            [self](caf::error& error) { failed(self, from_caf(error, "greet the control plane")); });
}

}  // namespace

NodeLinkActor::behavior_type node_link(Self self, Node node, Fetchers fetchers, ControlPlaneDoor door,
                                       NodeHello description) {
  auto& state = self->state;
  state.node = std::move(node);
  state.fetchers = std::move(fetchers);
  state.door = std::move(door);
  state.self_description = std::move(description);
  state.jitter.seed(std::random_device{}());
  self->set_down_handler([self](const caf::down_msg& down) {
    if (!self->state.inbox || down.source != *self->state.inbox) return;
    failed(self, {.code = ErrorCode::connection_lost,
                  .attempted = "stay connected with",
                  .subject = "the control plane",
                  .reason = self->system().render(down.reason),
                  .mend = "",
                  .transient = true});
  });
  self->set_exit_handler([self](const caf::exit_msg& exit) {
    disconnect(self);
    if (self->state.door.close) self->state.door.close();
    self->quit(exit.reason);
  });
  watch_boards(self);
  self->send(self, tick_atom_v);
  return {
      [self](tick_atom) {
        if (!self->state.inbox) connect(self);
      },
      [self](news_atom, NodeNews& news) {
        auto& state = self->state;
        auto& waiting = state.waiting;
        note_runs(state, news.runs);
        for (const auto& death : news.deaths)
          if (state.node.services->counters) state.ended.push_back(death);
        // What is known anew at each connection need not wait for one; runs are not.
        if (!state.face) {
          move_behind(waiting.runs, news.runs);
          if (waiting.runs.size() > kRunsKept) waiting.runs.erase(waiting.runs.begin(), waiting.runs.end() - kRunsKept);
          return;
        }
        // Within one message what is gone is gone last.
        if (state.inbox && !waiting.gone_templates.empty() && !news.templates.empty())
          self->send(*state.inbox, news_atom_v, std::exchange(waiting, {}));
        move_behind(waiting.sandboxes, news.sandboxes);
        move_behind(waiting.gone_sandboxes, news.gone_sandboxes);
        move_behind(waiting.templates, news.templates);
        move_behind(waiting.gone_templates, news.gone_templates);
        move_behind(waiting.runs, news.runs);
        move_behind(waiting.pools, news.pools);
        move_behind(waiting.deaths, news.deaths);
        if (state.inbox && !std::exchange(state.flushing, true)) self->send(self, flush_atom_v);
      },
      [self](flush_atom) -> caf::result<void> {
        auto& state = self->state;
        state.flushing = false;
        if (state.inbox && !state.waiting.empty())
          self->send(*state.inbox, news_atom_v, std::exchange(state.waiting, {}));
        return caf::unit;
      },
      [self](beat_atom atom) {
        self->state.beating = self->state.inbox.has_value();
        if (!self->state.beating) return;
        say_well(self);
        self->delayed_send(self, kNodeBeat, atom);
      },
  };
}

}  // namespace nanobox
