// bench_scheduler [SEED]: 100 000 sandboxes on 1000 simulated nodes that fill, empty, fail and come back. How long a
// placement takes, how even the load is, whether a node ever holds more than it may. The same seed gives the same
// placements.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <queue>
#include <string>
#include <vector>

#include "pipeline/cluster/placement/placement.hpp"

using namespace nanobox;

namespace {

constexpr std::uint32_t kNodes = 1000, kSandboxes = 100'000, kTemplates = 200, kOwners = 50;

/// One way to run the cluster. Times are counted in arrivals.
struct Scenario {
  const char* name;
  double mean_life;                  ///< of a sandbox: with the sizes it decides how full the cluster is
  std::uint32_t nodes_per_template;  ///< that have it, its snapshot on half of them
  std::uint32_t pools;               ///< templates with one ready member on each node that has them
};

constexpr Scenario kScenarios[]{
    {.name = "half full", .mean_life = 23'000, .nodes_per_template = kNodes, .pools = 0},
    {.name = "half full, few have the template", .mean_life = 23'000, .nodes_per_template = 30, .pools = 40},
    {.name = "overfull", .mean_life = 80'000, .nodes_per_template = kNodes, .pools = 0},
    {.name = "overfull, few have the template", .mean_life = 80'000, .nodes_per_template = 30, .pools = 40},
};

constexpr Amounts kSizes[]{{.vcpu = 1, .memory_mb = 256, .disk_mb = 1024, .addresses = 1},
                           {.vcpu = 1, .memory_mb = 512, .disk_mb = 2048, .addresses = 1},
                           {.vcpu = 2, .memory_mb = 1024, .disk_mb = 4096, .addresses = 1},
                           {.vcpu = 4, .memory_mb = 4096, .disk_mb = 8192, .addresses = 1}};

std::string name(const char* what, std::uint32_t number) {
  return what + std::to_string(number);
}

/// Most sandboxes are small.
const Amounts& size_of_template(std::uint32_t number) {
  constexpr std::size_t kSizeOf[]{0, 0, 1, 1, 1, 1, 2, 2, 2, 3};
  return kSizes[kSizeOf[number % std::size(kSizeOf)]];
}

NodeReport new_node(std::uint32_t number) {
  const std::uint64_t half = number % 2 + 1;
  NodeReport report;
  report.node_id = name("node-", number);
  report.capacity = {.vcpu = 16 * half, .memory_mb = 32'768 * half, .disk_mb = 500'000 * half, .addresses = 1000};
  report.vmms = {"firecracker", "qemu-kvm"};
  report.cpu_features = {number % 4 == 0 ? "class-older" : "class-newer", "any"};
  return report;
}

double exponential(RandomBits& random, double mean) {
  return -std::log((static_cast<double>(random.next() >> 11) + 1) * 0x1p-53) * mean;
}

bool is_overfull(const NodeView& node) {
  return shortage(node.limit, {}, node.occupied) != 0;
}

double microseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

struct Event {
  double at = 0;
  enum class Kind { sandbox_ends, node_fails, node_returns } kind = Kind::sandbox_ends;
  std::uint32_t number = 0;
  bool operator>(const Event& other) const { return at > other.at; }
};

struct Figures {
  std::vector<double> placed_us, refused_us, reserved_us;
  std::size_t oversubscribed = 0, lost = 0, failures = 0;
  std::size_t warm = 0;
  double max_to_mean = 0;
  double variation = 0, mean_load = 0, max_load = 0;
  std::uint64_t fingerprint = 0;
};

/// A simulated cluster, and the clock of its events.
class Simulation {
public:
  Simulation(const Scenario& scenario, std::uint64_t seed) : scenario_(scenario), random_(seed) {
    for (std::uint32_t at = 0; at < kNodes; ++at) reports_.push_back(new_node(at));
    for (std::uint32_t number = 0; number < kTemplates; ++number) {
      for (std::uint32_t copy = 0; copy < scenario.nodes_per_template; ++copy) {
        const bool everywhere = scenario.nodes_per_template == kNodes;
        auto& report = reports_[everywhere ? copy : random_.below(kNodes)];
        report.rootfs.push_back(name("rootfs-", number));
        if (everywhere || copy % 2 == 0) report.snapshots.push_back(name("snapshot-", number));
        if (number < scenario.pools)
          report.pools[name("template-", number)] = {.ready = 1, .each = size_of_template(number)};
      }
    }
    for (const auto& report : reports_) view_.report(report);
    events_.push({.at = exponential(random_, kFailureGap), .kind = Event::Kind::node_fails});
  }

  Figures run() {
    for (std::uint32_t number = 0; number < kSandboxes; ++number) {
      for (; !events_.empty() && events_.top().at <= number; events_.pop()) happen(Event(events_.top()));
      arrive(number);
      beat(reports_[number % kNodes]);
      if (number % 100 == 0) look(number > kSandboxes / 2);
    }
    figures_.variation /= static_cast<double>(looks_);
    figures_.mean_load /= static_cast<double>(looks_);
    figures_.max_to_mean /= static_cast<double>(looks_);
    return std::move(figures_);
  }

private:
  static constexpr double kFailureGap = 1000, kOutage = 5000;

  void arrive(std::uint32_t number) {
    const auto of = random_.below(kTemplates);
    Wish wish;
    wish.owner = name("owner-", random_.below(kOwners));
    wish.template_key = name("template-", of);
    wish.rootfs_identity = name("rootfs-", of);
    wish.snapshot_key = name("snapshot-", of);
    wish.resources = size_of_template(of);
    if (of % 5 == 0) wish.cpu_features = {"class-newer"};
    if (of % 7 == 0) wish.vmm = "firecracker";
    const auto begin = std::chrono::steady_clock::now();
    const auto decision = place(view_, wish, random_);
    (decision ? figures_.placed_us : figures_.refused_us).push_back(microseconds_since(begin));
    if (!decision) return;
    const auto id = name("sb-", number);
    const auto reserve_begin = std::chrono::steady_clock::now();
    if (!view_.reserve(reservation_for(wish, *decision, id)) || !view_.confirm(id)) std::abort();
    figures_.reserved_us.push_back(microseconds_since(reserve_begin));
    const auto* const node = view_.find(decision->node_id);
    for (const char letter : node->id)
      figures_.fingerprint = figures_.fingerprint * 31 + static_cast<unsigned char>(letter);
    figures_.warm += decision->warmth > Warmth::nothing ? 1 : 0;
    if (is_overfull(*node)) ++figures_.oversubscribed;
    events_.push({.at = number + exponential(random_, scenario_.mean_life), .number = number});
  }

  /// A node's heartbeat: it has filled its pools again where it had room.
  void beat(NodeReport report) {
    const auto& node = *view_.find(report.node_id);
    if (node.state != NodeState::ready) return;
    auto occupied = node.occupied;
    for (auto& [key, pool] : report.pools) {
      if (const auto left = node.reported.pools.find(key); left != node.reported.pools.end() && left->second.ready > 0)
        continue;
      pool.ready = shortage(node.limit, occupied, pool.each) == 0 ? 1 : 0;
      occupied += pool.each * pool.ready;
    }
    view_.report(std::move(report));
  }

  /// A failed node's sandboxes are gone with it; it comes back empty.
  void happen(const Event& event) {
    switch (event.kind) {
      case Event::Kind::sandbox_ends:
        view_.release(name("sb-", event.number));
        return;
      case Event::Kind::node_fails: {
        events_.push({.at = event.at + exponential(random_, kFailureGap), .kind = Event::Kind::node_fails});
        const auto number = random_.below(kNodes);
        if (view_.find(reports_[number].node_id)->state == NodeState::lost) return;
        ++figures_.failures;
        if (!view_.set_state(reports_[number].node_id, NodeState::lost)) std::abort();
        events_.push(
            {.at = event.at + exponential(random_, kOutage), .kind = Event::Kind::node_returns, .number = number});
        return;
      }
      case Event::Kind::node_returns:
        figures_.lost += view_.remove(reports_[event.number].node_id).size();
        view_.report(reports_[event.number]);
        return;
    }
  }

  /// Counts nodes above their limits; once the cluster is as full as it gets, also how even it is.
  void look(bool is_full) {
    double sum = 0, squares = 0, most = 0, count = 0;
    for (const auto& node : view_.nodes()) {
      if (is_overfull(node)) ++figures_.oversubscribed;
      if (node.state != NodeState::ready) continue;
      const double load = load_of(node);
      ++count;
      sum += load;
      squares += load * load;
      most = std::max(most, load);
    }
    if (!is_full) return;
    const double mean = sum / count;
    figures_.mean_load += mean;
    figures_.max_load = std::max(figures_.max_load, most);
    figures_.max_to_mean += most / mean;
    figures_.variation += std::sqrt(std::max(0.0, squares / count - mean * mean)) / mean;
    ++looks_;
  }

  const Scenario& scenario_;
  RandomBits random_;
  ClusterView view_;
  std::vector<NodeReport> reports_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  Figures figures_;
  std::size_t looks_ = 0;
};

/// @param part  0 to 1
double quantile(std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(part * static_cast<double>(sorted.size())))];
}

void print(const char* what, std::vector<double>& times_us) {
  std::sort(times_us.begin(), times_us.end());
  std::printf("  %-10s %6zu   p50 %6.2f   p99 %6.2f   p99.9 %7.2f us\n", what, times_us.size(), quantile(times_us, 0.5),
              quantile(times_us, 0.99), quantile(times_us, 0.999));
}

}  // namespace

int main(int count, char** arguments) {
  const std::uint64_t seed = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1;
  bool is_sound = true;
  for (const auto& scenario : kScenarios) {
    auto figures = Simulation(scenario, seed).run();
    std::printf("%s\n", scenario.name);
    auto either_us = figures.placed_us;
    either_us.insert(either_us.end(), figures.refused_us.begin(), figures.refused_us.end());
    print("either", either_us);
    print("placed", figures.placed_us);
    print("refused", figures.refused_us);
    print("reserved", figures.reserved_us);
    std::printf("  load: mean %.2f, most %.2f, max/mean %.2f, coefficient of variation %.3f\n", figures.mean_load,
                figures.max_load, figures.max_to_mean, figures.variation);
    std::printf("  oversubscribed %zu, nodes failed %zu, sandboxes lost %zu, placed warm %zu, fingerprint %016llx\n",
                figures.oversubscribed, figures.failures, figures.lost, figures.warm,
                static_cast<unsigned long long>(figures.fingerprint));
    is_sound = is_sound && figures.oversubscribed == 0;
  }
  return is_sound ? 0 : 1;
}
