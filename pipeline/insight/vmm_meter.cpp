#include "pipeline/insight/vmm_meter.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <fstream>
#include <optional>
#include <sstream>

namespace nanobox {

namespace {

namespace fs = std::filesystem;

std::optional<std::string> whole_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  if (!in && !in.eof()) return std::nullopt;
  return text.str();
}

/// Field `number` of /proc/PID/stat, from 3 on.
std::uint64_t stat_field(const std::string& stat, int number) {
  // Field 2 is a name in brackets that may hold anything; field 3 follows its last bracket.
  const auto bracket = stat.rfind(')');
  if (bracket == std::string::npos) return 0;
  std::istringstream fields(stat.substr(bracket + 1));
  std::string field;
  for (int at = 3; at <= number; ++at)
    if (!(fields >> field)) return 0;
  std::uint64_t value = 0;
  std::from_chars(field.data(), field.data() + field.size(), value);
  return value;
}

/// Nothing where another process has the number now, or none.
std::optional<std::uint64_t> cpu_us_of(const fs::path& folder, std::uint64_t start_time_ticks) {
  const auto stat = whole_text(folder / "stat");
  if (!stat || stat_field(*stat, 22) != start_time_ticks) return std::nullopt;
  static const auto ticks_per_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return (stat_field(*stat, 14) + stat_field(*stat, 15)) * 1'000'000 / ticks_per_second;
}

std::optional<std::uint64_t> pss_bytes_of(const fs::path& folder) {
  const auto rollup = whole_text(folder / "smaps_rollup");
  if (!rollup) return std::nullopt;
  const auto line = rollup->find("\nPss:");
  if (line == std::string::npos) return std::nullopt;
  std::istringstream number(rollup->substr(line + 5));
  std::uint64_t kib = 0;
  number >> kib;
  return kib << 10;
}

std::chrono::microseconds own_cpu_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::seconds(time.tv_sec) +
                                                               std::chrono::nanoseconds(time.tv_nsec));
}

}  // namespace

VmmMeter::VmmMeter(std::chrono::microseconds memory_budget, fs::path proc)
    : memory_budget_(memory_budget), proc_(std::move(proc)) {}

void VmmMeter::read_cpu(const MeteredVmm& vmm) {
  const auto cpu_us = cpu_us_of(proc_ / std::to_string(vmm.pid), vmm.start_time_ticks);
  if (!cpu_us) return;
  const auto [entry, first] = seen_.try_emplace({vmm.pid, vmm.start_time_ticks});
  auto& seen = entry->second;
  // What ran before the first measurement was an earlier daemon's.
  if (first && measurement_ == 1) seen.uncounted_us = *cpu_us;
  seen.vm_id = vmm.vm_id;
  seen.of = {vmm.owner, vmm.template_name};
  seen.cpu_us = *cpu_us - std::min(*cpu_us, seen.uncounted_us);
  seen.present_in = measurement_;
}

void VmmMeter::read_memory() {
  std::vector<std::pair<const Process, Seen>*> order;
  for (auto& entry : seen_) order.push_back(&entry);
  std::ranges::stable_sort(order, {}, [](const auto* entry) { return entry->second.memory_read_in; });
  const auto begin = own_cpu_time();
  for (auto* entry : order) {
    auto& [process, seen] = *entry;
    if (const auto pss_bytes = pss_bytes_of(proc_ / std::to_string(process.first))) seen.pss_bytes = *pss_bytes;
    seen.memory_read_in = measurement_;
    if (own_cpu_time() - begin >= memory_budget_) break;
  }
}

void VmmMeter::leave_out_ended(const std::vector<SandboxDeath>& ended) {
  std::map<std::string, std::uint64_t> last_words;
  for (const auto& death : ended)
    if (death.usage)
      last_words[death.id] = static_cast<std::uint64_t>(std::max<std::int64_t>(0, death.usage->cpu_ms)) * 1000;
  for (auto it = seen_.begin(); it != seen_.end();) {
    const auto& seen = it->second;
    if (seen.present_in == measurement_) {
      ++it;
      continue;
    }
    auto cpu_us = seen.cpu_us;
    if (const auto last = last_words.extract(seen.vm_id))
      cpu_us = std::max(cpu_us, last.mapped() - std::min(last.mapped(), seen.uncounted_us));
    ended_cpu_us_[seen.of] += cpu_us;
    it = seen_.erase(it);
  }
  // Those that began and ended between two measurements.
  for (const auto& death : ended)
    if (const auto last = last_words.extract(death.id))
      ended_cpu_us_[{death.owner, death.template_name}] += last.mapped();
}

std::vector<TemplateUsage> VmmMeter::measure(const std::vector<MeteredVmm>& vmms,
                                             const std::vector<SandboxDeath>& ended) {
  ++measurement_;
  for (const auto& vmm : vmms) read_cpu(vmm);
  leave_out_ended(ended);
  read_memory();
  std::map<Template, TemplateUsage> sums;
  const auto sum_of = [&](const Template& of) -> TemplateUsage& {
    return sums.try_emplace(of, TemplateUsage{.owner = of.first, .template_name = of.second}).first->second;
  };
  for (const auto& [of, cpu_us] : ended_cpu_us_) sum_of(of).cpu_us += cpu_us;
  for (const auto& [process, seen] : seen_) {
    auto& sum = sum_of(seen.of);
    ++sum.vms;
    sum.pss_bytes += seen.pss_bytes;
    sum.cpu_us += seen.cpu_us;
  }
  std::vector<TemplateUsage> usage;
  for (auto& [of, sum] : sums) usage.push_back(std::move(sum));
  return usage;
}

std::vector<TemplateUsage> largest(std::vector<TemplateUsage> usage, std::size_t most) {
  if (usage.size() <= most) return usage;
  std::ranges::stable_sort(usage, std::greater<>{}, &TemplateUsage::vms);
  TemplateUsage other{.owner = {}, .template_name = "other"};
  for (std::size_t i = most - 1; i < usage.size(); ++i) {
    other.vms += usage[i].vms;
    other.pss_bytes += usage[i].pss_bytes;
    other.cpu_us += usage[i].cpu_us;
  }
  usage.resize(most - 1);
  usage.push_back(std::move(other));
  return usage;
}

}  // namespace nanobox
