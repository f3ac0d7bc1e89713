#include "pipeline/metrics/process_families.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "pipeline/metrics/family.hpp"

namespace nanobox {

namespace {

/// The fields of /proc/self/stat from the third on.
std::vector<double> stat_fields() {
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  std::istringstream rest(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  std::vector<double> fields;
  std::string state;
  rest >> state;
  fields.push_back(0);
  for (double field = 0; rest >> field;) fields.push_back(field);
  fields.resize(30);
  return fields;
}

/// Seconds since the epoch at which the machine was started.
double boot_time() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("btime ")) return std::stod(line.substr(6));
  return 0;
}

double open_descriptors() {
  std::error_code error;
  const std::filesystem::directory_iterator folder("/proc/self/fd", error);
  return error ? 0 : static_cast<double>(std::distance(begin(folder), end(folder)));
}

}  // namespace

std::vector<prometheus::MetricFamily> process_families() {
  const auto fields = stat_fields();
  const auto field = [&](std::size_t number) { return fields[number - 3]; };  // as proc(5) counts them
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK)), page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  std::vector<prometheus::MetricFamily> families;
  const auto add = [&](prometheus::MetricFamily family, double value) {
    add_value(family, {}, value);
    families.push_back(std::move(family));
  };
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  add(counter_family("process_cpu_seconds_total", "Processor time of the daemon."), (field(14) + field(15)) / ticks);
  add(gauge_family("process_resident_memory_bytes", "Resident memory of the daemon."), field(24) * page);
  add(gauge_family("process_virtual_memory_bytes", "Virtual memory of the daemon."), field(23));
  add(gauge_family("process_threads", "Threads of the daemon."), field(20));
  add(gauge_family("process_open_fds", "Open file descriptors of the daemon."), open_descriptors());
  add(gauge_family("process_max_fds", "How many file descriptors the daemon may open."),
      static_cast<double>(descriptors.rlim_cur));
  add(gauge_family("process_start_time_seconds", "When the daemon was started, in seconds since the epoch."),
      boot_time() + field(22) / ticks);
  return families;
}

}  // namespace nanobox
