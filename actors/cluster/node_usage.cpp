#include "actors/cluster/node_usage.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <set>
#include <thread>

namespace nanobox {

namespace {

namespace fs = std::filesystem;

std::uint64_t bytes_below(const fs::path& folder) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.is_regular_file(error) && !entry.is_symlink(error)) sum += entry.file_size(error);
  return sum;
}

/// What the files below a folder take on disk: one with holes less than its size, one of several names once.
std::uint64_t allocated_below(const fs::path& folder, std::set<std::pair<dev_t, ino_t>>& seen) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (auto entry = fs::directory_iterator(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    struct stat status {};
    if (::lstat(entry->path().c_str(), &status) != 0) continue;  // gone meanwhile
    if (S_ISDIR(status.st_mode))
      sum += allocated_below(entry->path(), seen);
    else if (S_ISREG(status.st_mode) && (status.st_nlink < 2 || seen.emplace(status.st_dev, status.st_ino).second))
      sum += static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  return sum;
}

}  // namespace

std::optional<Error> unsteady_concern(const Boards& boards) {
  for (const auto& health : boards.concerns.all()) {
    if (!health->unsteady_until || *health->unsteady_until < std::chrono::steady_clock::now()) continue;
    return Error{
        .code = ErrorCode::not_ready,
        .attempted = "run " + health->concern,
        .subject = "",
        .reason = "it died " + std::to_string(health->deaths.size()) + " times within a minute: " + health->reason,
        .mend = "the log says more"};
  }
  return std::nullopt;
}

std::optional<Error> node_problem(const Services& services) {
  if (!services.driver) return services.driver_problem;
  return unsteady_concern(*services.boards);
}

void measure_usage(const Services& services, NodeBeat& beat) {
  std::set<std::pair<dev_t, ino_t>> seen;
  beat.cache_bytes = bytes_below(services.cache.blobs / "sha256");
  beat.snapshot_bytes = allocated_below(services.snapshots_folder, seen);
  std::error_code error;
  const auto space = fs::space(services.sandboxes_folder, error);
  beat.disk_free_mb = error ? 0 : space.available >> 20;
}

void judge_readiness(const Services& services, NodeBeat& beat) {
  const auto problem = node_problem(services);
  beat.ready = !problem;
  beat.reason = problem ? describe(*problem) : "";
  beat.templates = services.boards->templates.all().size();
}

namespace {
constexpr std::uint64_t kUnlimitedMb = std::uint64_t{1} << 40;
/// Sandboxes mostly wait; what a node really bears shows in its memory.
constexpr double kVcpuOvercommit = 256;
}  // namespace

NodeCapacity capacity_of(const Services& services) {
  std::error_code error;
  const auto space = fs::space(services.sandboxes_folder, error);
  return {.vcpu = std::max(1U, std::thread::hardware_concurrency()),
          .memory_mb = services.memory_budget_mb != 0 ? services.memory_budget_mb : kUnlimitedMb,
          .disk_mb = error ? 0 : space.capacity >> 20,
          .addresses = 0,
          .vcpu_overcommit = kVcpuOvercommit,
          .disk_overcommit = services.disk_overcommit};
}

}  // namespace nanobox
