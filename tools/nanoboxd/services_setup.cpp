#include "tools/nanoboxd/services_setup.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "config/log.hpp"
#include "config/sha256.hpp"
#include "guest/embedded_init.hpp"
#include "pipeline/boot/network/node_network.hpp"
#include "pipeline/boot/output_spool.hpp"
#include "pipeline/boot/snapshot/snapshot_store.hpp"
#include "pipeline/boot/vmm/confinement.hpp"
#include "pipeline/boot/vmm/poller.hpp"
#include "pipeline/boot/vmm/probe.hpp"
#include "pipeline/boot/vmm/qemu/qemu_driver.hpp"
#include "pipeline/store/node_store.hpp"
#include "pipeline/warmup/rootfs/inflate.hpp"
#include "pipeline/warmup/rootfs/rootfs_cache.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

/// VMMs' user ids: far from those that distributions and login services give out; another range for another data
/// folder, so that the VMMs of two daemons are strangers to each other.
UidRange vmm_uids(const fs::path& data_folder) {
  constexpr std::uint32_t first = 0x2A000000, each = 0x10000, ranges = 0x1000;
  std::error_code error;
  const auto digest = sha256_hex(fs::canonical(data_folder, error).native());
  const auto range = static_cast<std::uint32_t>(std::stoul(digest.substr(0, 8), nullptr, 16)) % ranges;
  return {.first = first + range * each, .last = first + range * each + each - 1};
}

Result<void> make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fail(errno_error(error.value(), "make folder", folder.string()));
  return {};
}

/// An unprivileged VMM has to walk to its files; what is inside each folder is guarded by its own mode.
void let_through(const fs::path& folder) {
  ::chmod(folder.c_str(), 0711);
}

Result<std::vector<std::byte>> init_binary(const fs::path& named) {
  if (named.empty()) {
    const auto bytes = embedded_init();
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  }
  std::ifstream file(named, std::ios::binary);
  std::vector<char> text((std::istreambuf_iterator<char>(file)), {});
  if (!file || text.empty())
    return fail({.code = ErrorCode::file_unreadable,
                 .attempted = "read [oci] init_binary",
                 .subject = named.string(),
                 .reason = "it is missing, empty or not readable",
                 .mend = "leave the key out to use the embedded init"});
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return std::vector<std::byte>(bytes, bytes + text.size());
}

/// Where interfaces cannot be made, sandboxes run without; what only the configuration can mend is refused.
Result<void> set_up_network(const Settings::Network& settings, const std::string& overlay_iface, Services& services) {
  services.subnet = settings.subnet;
  auto started = NodeNetwork::start({.bridge_name = settings.bridge_name,
                                     .subnet = settings.subnet,
                                     .host_iface = settings.host_iface,
                                     .overlay_iface = overlay_iface});
  if (started) {
    services.network = std::move(*started);
    if (!services.network->resolver_problem().empty())
      log_error(LogComponent::network, {}, "guests' names are not resolved: {}", services.network->resolver_problem());
    if (!services.network->overlay_problem().empty())
      log_error(LogComponent::network, {}, "groups do not reach other nodes from here: {}",
                services.network->overlay_problem());
    return {};
  }
  if (started.error().code == ErrorCode::config_invalid) return fail(started.error());
  services.network_problem = started.error();
  services.network_problem.code = ErrorCode::network_unavailable;
  if (services.network_problem.mend.empty())
    services.network_problem.mend = "use mode isolated; nanobox doctor tells what networks need";
  log_warn(LogComponent::network, {}, "sandboxes have no network: {}", describe(services.network_problem));
  return {};
}

Result<std::shared_ptr<VmmDriver>> make_driver(const LoadedSettings& loaded, const UidRange& uids, bool has_interface) {
  const auto probes = probe_vmms({.asked = loaded.settings.agent.vmm});
  for (const auto& probe : probes)
    log_info(LogComponent::vm, {}, "{}: {}{}", to_string(probe.kind), probe.usable ? "works" : "does not work",
             probe.reason.empty() ? "" : ", " + probe.reason);
  const auto kind = NANOBOX_TRY(choose_vmm(loaded.settings.agent.vmm, probes));
  QemuSettings settings;
  settings.kind = kind;
  settings.data_folder = loaded.data_folder;
  settings.uids = uids;
  settings.has_interface = has_interface;
  settings.pollers = NANOBOX_TRY(PollerSet::start());
  settings.confinement = NANOBOX_TRY(ConfinementHost::detect(loaded.data_folder));
  return std::shared_ptr<VmmDriver>(NANOBOX_TRY(make_qemu_driver(settings)));
}

Result<std::string> file_digest(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  Sha256 sum;
  std::vector<char> piece(1U << 20);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() > 0)
    sum.update({piece.data(), static_cast<std::size_t>(file.gcount())});
  if (!file.eof()) return fail(errno_error(errno, "read", path, ErrorCode::kernel_missing));
  return sum.finish();
}

/// What all guests together may have: the host's memory but for an eighth, which the host keeps.
std::uint64_t memory_budget_mb() {
  const auto pages = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES));
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return pages * page_bytes / 8 * 7 >> 20;
}

}  // namespace

Result<SpoolPlace> make_spool_place(const LoadedSettings& loaded) {
  constexpr std::uint64_t budget = std::uint64_t{1} << 30;  // on disk, until the answers are sent
  SpoolPlace place{.folder = loaded.data_folder / "spool", .budget = std::make_shared<SpoolBudget>(budget)};
  NANOBOX_TRY(make_folder(place.folder));
  let_through(place.folder);
  return place;
}

ImageSourceSettings image_sources(const Settings& settings) {
  ImageSourceSettings sources;
  sources.local_roots = settings.oci.local_roots;
  sources.insecure_registries = settings.oci.insecure_registries;
  sources.ca_file = settings.oci.ca_file;
  sources.docker_config = settings.oci.docker_config;
  for (const auto& entry : settings.oci.credentials)
    sources.credentials.push_back({entry.registry, {entry.username, entry.password}});
  return sources;
}

fs::path find_kernel(const LoadedSettings& loaded) {
  if (!loaded.settings.firecracker.kernel.empty()) return loaded.settings.firecracker.kernel;
  fs::path newest;
  fs::file_time_type newest_time{};
  const auto look = [&](const fs::path& folder, bool below) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      auto file = below ? entry.path() / "vmlinux" : entry.path();
      if (!file.filename().string().starts_with("vmlinux") || !fs::is_regular_file(file, error)) continue;
      const auto time = fs::last_write_time(file, error);
      if (newest.empty() || time > newest_time) {
        newest = file;
        newest_time = time;
      }
    }
  };
  look(loaded.data_folder / "kernels", false);
  std::error_code error;
  look(fs::read_symlink("/proc/self/exe", error).parent_path().parent_path() / "lib/nanobox", false);
  look("/usr/lib/nanobox", false);
  if (newest.empty()) {
    const char* cache = std::getenv("NANOBOX_CACHE");
    const char* home = std::getenv("HOME");
    if (cache != nullptr)
      look(fs::path(cache) / "kernel", true);
    else if (home != nullptr)
      look(fs::path(home) / ".cache/nanobox/kernel", true);
  }
  return newest;
}

Result<SharedServices> set_up_services(const LoadedSettings& loaded, std::shared_ptr<RecordStore> control_store,
                                       Ipv4Subnet part) {
  const auto& settings = loaded.settings;
  auto services = std::make_shared<Services>();
  services->node_id = settings.agent.node_id;
  services->cache = {.blobs = settings.oci.cache_dir / "blobs", .rootfs = settings.oci.cache_dir / "rootfs"};
  services->sandboxes_folder = settings.agent.rootfs_dir;
  services->snapshots_folder = settings.agent.snapshot_dir;
  services->run_folder = loaded.data_folder / "run";
  for (const auto& folder : {loaded.data_folder, settings.oci.cache_dir, services->cache.rootfs,
                             services->sandboxes_folder, services->snapshots_folder, services->run_folder}) {
    NANOBOX_TRY(make_folder(folder));
    let_through(folder);
  }
  services->spools = NANOBOX_TRY(make_spool_place(loaded));
  services->address_part = part;
  NANOBOX_TRY(clean_rootfs_folder(services->cache.rootfs));
  services->snapshots = NANOBOX_TRY(SnapshotStore::open(services->snapshots_folder));
  services->snapshot_max_mb = settings.agent.snapshot_max_mb;
  services->pool = settings.pool;
  services->blobs = NANOBOX_TRY(BlobCache::open(services->cache.blobs));
  services->large_windows = std::make_shared<WindowGate>();

  services->image_sources = image_sources(settings);

  services->init_binary = NANOBOX_TRY(init_binary(settings.oci.init_binary));
  services->init_digest =
      sha256_hex({reinterpret_cast<const char*>(services->init_binary.data()), services->init_binary.size()});
  services->dns_server = settings.oci.dns_server;
  services->boot_args = settings.firecracker.boot_args;
  services->kernel = find_kernel(loaded);
  if (services->kernel.empty())
    log_warn(LogComponent::vm, {}, "no guest kernel was found: run guest/kernel/build, or set [firecracker] kernel");
  // A kernel that cannot be read is told where a VM wants it.
  services->kernel_digest = file_digest(services->kernel).value_or("");
  services->min_free_mb = settings.agent.min_free_mb;
  services->disk_overcommit = settings.agent.disk_overcommit;
  services->memory_budget_mb = settings.agent.memory_mb != 0 ? settings.agent.memory_mb : memory_budget_mb();
  services->vmm_uids = vmm_uids(loaded.data_folder);
  services->control_store = std::move(control_store);
  services->node_store = NANOBOX_TRY(NodeStore::open(loaded.data_folder / "node.db"));
  services->boards = std::make_shared<Boards>();

  NANOBOX_TRY(set_up_network(settings.network, settings.cluster.overlay_iface, *services));
  if (auto driver = make_driver(loaded, services->vmm_uids, services->network != nullptr)) {
    services->driver = std::move(*driver);
  } else {
    services->driver_problem = driver.error();
    log_error(LogComponent::vm, {}, "no VMM works here: {}", describe(services->driver_problem));
  }
  return services;
}

}  // namespace nanobox
